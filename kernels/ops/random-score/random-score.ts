import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { mersenneTwister } from "../../src/mersenne-twister.ts";
import { gatherPositions } from "../../src/row-view.ts";

export interface RandomScoreParams {
  readonly batch: KvBatch;
  /** 32-bit seed. */
  readonly seed: number;
  /** f32 [batch.totalSlots]: receives numbers in [0, 1). */
  readonly out: Tensor;
}

/**
 * A number for every KV head and position from one seeded generator, the same in every layer: head by
 * head, as many as the sequence has positions. Multiples of 2⁻²⁴, so that f32 holds them exactly.
 */
export const randomScore = defineKernel<RandomScoreParams>({
  name: "random-score",
  reference({ batch, seed, out }) {
    const scores = hostArray(out, "f32");
    const { numKvHeads } = batch.shape;
    const tables = batch.nextPositions.map((positions) => {
      const next = mersenneTwister(seed);
      return Float32Array.from(
        { length: numKvHeads * positions },
        () => (next() & 0xffffff) / 2 ** 24,
      );
    });
    forEachRow(batch, ({ view, begin, head, sequenceIndex }) => {
      const table = tables[sequenceIndex]!;
      const first = head * batch.nextPositions[sequenceIndex]!;
      const positions = gatherPositions(view);
      for (let j = 0; j < view.length; j++) scores[begin + j] = table[first + positions[j]!]!;
    });
  },
});
