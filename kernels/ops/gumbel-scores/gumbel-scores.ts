import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { gatherPositions } from "../../src/row-view.ts";

export interface GumbelScoresParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots], changed in place. */
  readonly scores: Tensor;
  /** Scores are divided by it before noise is added; 0 leaves noise alone. */
  readonly temperature: number;
  readonly seed: number;
}

/**
 * Adds Gumbel noise, so that the highest k are a sample of k tokens without replacement, each drawn
 * with a chance proportional to exp(score / temperature). The noise of a token depends on seed,
 * layer, head and position alone.
 */
export const gumbelScores = defineKernel<GumbelScoresParams>({
  name: "gumbel-scores",
  reference({ batch, scores, temperature, seed }) {
    const values = hostArray(scores, "f32");
    forEachRow(batch, ({ view, begin, layer, head }) => {
      const positions = gatherPositions(view);
      const row = hash(hash(seed, layer), head);
      for (let j = 0; j < view.length; j++) {
        // In (0, 1), both ends left out.
        const uniform = (hash(row, positions[j]!) + 0.5) / 2 ** 32;
        const logit = temperature > 0 ? values[begin + j]! / temperature : 0;
        values[begin + j] = logit - Math.log(-Math.log(uniform));
      }
    });
  },
});

/** Mixes two whole numbers to 32 bits (murmur3's finaliser). */
function hash(a: number, b: number): number {
  let bits = (Math.imul(a, 0x9e3779b1) ^ Math.imul(b + 1, 0x85ebca77)) | 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
