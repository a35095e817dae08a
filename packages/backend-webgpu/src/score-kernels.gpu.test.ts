import type { Encoder, KvBatch, Tensor } from "@kvcache/core";
import {
  addSums,
  keyDiff,
  keyNorm,
  positionScore,
  projectedValueNorm,
  protectScores,
  raiseRecent,
  readSums,
} from "@kvcache/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DeviceBatch, deviceBatch } from "./device-batch.ts";
import { numbers } from "./test-gpu.ts";

type Fill = (encoder: Encoder, batch: KvBatch, out: Tensor) => void;

/** Records a kernel that fills one number a slot. */
const scored = (fill: Fill) => (encoder: Encoder, batch: KvBatch) => {
  const out = encoder.tensor("f32", batch.totalSlots);
  fill(encoder, batch, out);
  return out;
};

describe.each([
  { dtype: "f32" },
  { dtype: "f16" },
  { dtype: "f32", maxArenaBytes: 2 ** 17 },
] as const)("kernels over the rows of a cache of $dtype, $maxArenaBytes", (options) => {
  let t: DeviceBatch;
  beforeAll(async () => {
    t = await deviceBatch(options);
  });
  afterAll(() => t.dispose());

  it("has rows whose slots are out of order, in as many arenas as asked for", () => {
    expect(t.batch.layout.arenas.length > 1).toBe("maxArenaBytes" in options);
  });

  it("scores by position, norm and sums", async () => {
    await t.agree(
      "position-score",
      scored((encoder, batch, out) => encoder.run(positionScore, { batch, out })),
      0,
    );
    await t.agree(
      "key-norm",
      scored((encoder, batch, out) => encoder.run(keyNorm, { batch, out })),
    );
    await t.agree(
      "key-diff",
      scored((encoder, batch, out) => encoder.run(keyDiff, { batch, out })),
    );
    for (const power of [1, 2] as const)
      await t.agree(
        "read-sums",
        scored((encoder, batch, out) => encoder.run(readSums, { batch, power, scale: 0.5, out })),
      );
  });

  it("protects both ends by position", async () => {
    await t.agree(
      "protect-scores",
      scored((encoder, batch, scores) => encoder.run(protectScores, { batch, scores })),
      0,
    );
    const protect = { sinks: 9, recent: 0 };
    await t.agree(
      "protect-scores, given",
      scored((encoder, batch, scores) => encoder.run(protectScores, { batch, scores, protect })),
      0,
    );
  });

  it("raises the last tokens of a row", async () => {
    for (const share of [0, 0.29, 0.5, 1])
      await t.agree(
        `raise-recent, ${share}`,
        scored((encoder, batch, out) => {
          const scores = encoder.tensor("f32", batch.totalSlots);
          const counts = encoder.upload(
            Uint32Array.from({ length: batch.numRows }, (_, row) => 3 * row),
          );
          encoder.run(positionScore, { batch, out: scores });
          encoder.run(raiseRecent, { batch, scores, counts, share, out });
        }),
        0,
      );
  });

  it("norms of projected values, layer by layer", async () => {
    const hiddenSize = 37;
    await t.agree(
      "projected-value-norm",
      scored((encoder, batch, out) => {
        const { numQueryHeads, headDim } = batch.shape;
        for (const layer of batch.layers.slice(1)) {
          const weight = encoder.upload(numbers(hiddenSize * numQueryHeads * headDim, layer));
          encoder.run(projectedValueNorm, { batch, layer, weight, hiddenSize, out });
        }
      }),
    );
  });

  it("adds to sums", async () => {
    await t.agree(
      "add-sums",
      scored((encoder, batch, out) => {
        encoder.run(positionScore, { batch, out });
        encoder.run(addSums, { batch, power: 2, values: out });
        encoder.run(readSums, { batch, power: 2, out });
      }),
    );
  });
});
