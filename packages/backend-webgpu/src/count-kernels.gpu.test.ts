import { type Encoder, hostTensor, indptrOf, type KvBatch, type Tensor } from "@kvcache/core";
import {
  blendedCounts,
  blockSchedule,
  globalTopCounts,
  prefixSum,
  pyramidCounts,
  recordTopK,
  reservedCounts,
  topK,
  uniformCounts,
} from "@kvcache/kernels";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type DeviceBatch, deviceBatch } from "./device-batch.ts";
import { numbers } from "./test-gpu.ts";

let t: DeviceBatch;
beforeAll(async () => {
  t = await deviceBatch();
});
afterAll(() => t.dispose());

/** Scores with many ties, both zeros, and +∞ where a token is protected. */
function table(count: number, seed: number): Float32Array {
  const draws = numbers(count, seed);
  const order = numbers(count, seed + 1);
  return draws.map((x, i) => {
    if (order[i]! > 0.8) return Number.POSITIVE_INFINITY;
    if (order[i]! > 0.6) return i % 2 === 0 ? 0 : -0;
    return order[i]! > 0 ? x : Math.round(4 * x) / 4;
  });
}

/** Runs an allocation over the batch's rows for scores of its own. */
const counted =
  (fill: (encoder: Encoder, batch: KvBatch, scores: Tensor, counts: Tensor) => void, seed = 5) =>
  (encoder: Encoder, batch: KvBatch) => {
    const scores = encoder.upload(table(batch.totalSlots, seed));
    const counts = encoder.tensor("u32", batch.numRows);
    fill(encoder, batch, scores, counts);
    return counts;
  };

const targets = [{ tokens: 1 }, { tokens: 9 }, { ratio: 0.29 }, { ratio: 1 }, { bytes: 20_000 }];

it("prefix sums of any number of counts", async () => {
  for (const length of [0, 1, 5, 127, 128, 129, 1000])
    await t.agree(`prefix-sum of ${length}`, (encoder) => {
      const out = encoder.tensor("u32", length + 1);
      const counts = encoder.upload(Uint32Array.from({ length }, (_, i) => (i * 7) % 11));
      encoder.run(prefixSum, { counts, out });
      return out;
    });
});

it("top-k of ragged rows: ties, both zeros, infinities, none and all", async () => {
  const lengths = [0, 1, 7, 255, 256, 257, 3000, 40];
  const indptr = indptrOf(lengths);
  const values = table(indptr.at(-1)!, 9);
  values.fill(-0, indptr[7]!, indptr[7]! + 20);
  values.fill(0, indptr[7]! + 20);
  values.set([Number.NEGATIVE_INFINITY, -1e-45, 1e-45, -3.4e38, 3.4e38, 0, -0], indptr[2]!);
  for (const part of [0, 0.3, 0.75, 1])
    for (const tieRule of ["lower-slot", "higher-slot"] as const)
      await t.agree(`top-k, ${part}, ${tieRule}`, (encoder) => {
        const scores = encoder.upload(values);
        const counts = Uint32Array.from(lengths, (length) => Math.round(part * length));
        const starts = encoder.upload(indptrOf([...counts]));
        const indices = encoder.tensor("u32", values.length);
        encoder.run(topK, {
          ...{ rowIndptr: hostTensor(indptr), scores, counts: encoder.upload(counts) },
          ...{ indptr: starts, indices, tieRule },
        });
        return indices;
      });
});

it("a keep set of a batch", async () => {
  for (const part of ["indptr", "indices"] as const)
    await t.agree(`keep set, ${part}`, (encoder, batch) => {
      const scores = encoder.upload(table(batch.totalSlots, 3));
      const counts = encoder.tensor("u32", batch.numRows);
      const target = { ratio: 0.4 };
      encoder.run(uniformCounts, { batch, target, scores, keepProtected: true, counts });
      return recordTopK(encoder, batch, scores, counts)[part];
    });
});

it.each(targets)("counts by rule for %o", async (target) => {
  for (const keepProtected of [true, false]) {
    await t.agree(
      "uniform-counts",
      counted((encoder, batch, scores, counts) =>
        encoder.run(uniformCounts, {
          ...{ batch, target, scores, keepProtected, counts },
          skipLayers: [1],
        }),
      ),
    );
    for (const rule of ["kvpress", "reference", "exact"] as const)
      await t.agree(
        `pyramid-counts, ${rule}`,
        counted((encoder, batch, scores, counts) =>
          encoder.run(pyramidCounts, {
            ...{ batch, target, scores, keepProtected, counts },
            ...{ beta: 4, rule },
          }),
        ),
      );
  }
});

it.each(targets)("counts by scores for %o", async (target) => {
  for (const keepProtected of [true, false])
    for (const safeguard of [0, 0.29, 1])
      await t.agree(
        `reserved-counts, ${safeguard}`,
        counted((encoder, batch, scores, counts) =>
          encoder.run(reservedCounts, { batch, target, scores, safeguard, keepProtected, counts }),
        ),
      );
  for (const scope of ["layer", "model"] as const)
    for (const safeguard of [0, 0.5, 1])
      await t.agree(
        `global-top-counts, ${scope}, ${safeguard}`,
        counted((encoder, batch, scores, counts) =>
          encoder.run(globalTopCounts, { batch, target, scores, scope, safeguard, counts }),
        ),
      );
  for (const floor of [0, 0.2, 0.5])
    for (const skipLayers of [0, 2])
      for (const layerBudget of [{ kind: "uniform" }, { kind: "pyramid", beta: 3 }] as const)
        await t.agree(
          `blended-counts, ${floor}, ${skipLayers}, ${layerBudget.kind}`,
          counted((encoder, batch, scores, counts) =>
            encoder.run(blendedCounts, {
              ...{ batch, target, scores, floor, skipLayers, layerBudget, counts },
              ...{ rounding: "half-even", normalize: false },
            }),
          ),
        );
  for (const evictBlocks of [undefined, 0, 3, 1000])
    await t.agree(
      `block-schedule, ${evictBlocks}`,
      counted((encoder, batch, scores, counts) =>
        encoder.run(blockSchedule, {
          ...{ batch, target, scores, counts },
          ...{ protectedWindow: 5, evictBlocks },
        }),
      ),
    );
});

it("gives the same bits twice", async () => {
  const once = async () => {
    const encoder = t.session.encoder();
    const scores = encoder.upload(table(t.batch.totalSlots, 5));
    const counts = encoder.tensor("u32", t.batch.numRows);
    const target = { ratio: 0.5 };
    encoder.run(globalTopCounts, {
      ...{ batch: t.batch, target, scores, counts },
      ...{ scope: "model", safeguard: 0.2 },
    });
    return [...(await encoder.read(recordTopK(encoder, t.batch, scores, counts).indices))];
  };
  expect(await once()).toEqual(await once());
});
