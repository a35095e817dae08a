import { defineKernel, KvCacheError } from "@kvcache/core";

export interface RopeParams {
  /** f32 [numTokens, numHeads × headDim]. */
  readonly input: Float32Array;
  /** f32, shaped as `input`; may be the same array. */
  readonly out: Float32Array;
  /** f32 [numTokens, ropeDim / 2], from core's `ropeTable`. */
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  readonly numTokens: number;
  readonly numHeads: number;
}

/**
 * Rotary position embedding, half-split: the first ropeDim values of each head are two halves
 * x1, x2 and become x1·cos − x2·sin, x2·cos + x1·sin; the rest of the head is copied. ropeDim is
 * the tables' width. Su et al. 2021, arXiv:2104.09864, in the convention of Hugging Face models.
 */
export const rope = defineKernel<RopeParams>({
  name: "rope",
  reference({ input, out, cos, sin, numTokens, numHeads }) {
    if (numTokens === 0) return;
    const headDim = input.length / (numTokens * numHeads);
    const half = cos.length / numTokens;
    if (!Number.isInteger(headDim) || !Number.isInteger(half) || 2 * half > headDim)
      throw new KvCacheError(
        "invalid-argument",
        `Cannot rotate ${2 * half} values of heads of ${headDim}.`,
        { value: { inputs: input.length, table: cos.length, numTokens, numHeads } },
      );
    if (out !== input) out.set(input);
    for (let token = 0; token < numTokens; token++) {
      const table = token * half;
      for (let head = 0; head < numHeads; head++) {
        const start = (token * numHeads + head) * headDim;
        for (let i = 0; i < half; i++) {
          const x1 = input[start + i]!;
          const x2 = input[start + half + i]!;
          const c = cos[table + i]!;
          const s = sin[table + i]!;
          out[start + i] = x1 * c - x2 * s;
          out[start + half + i] = x2 * c + x1 * s;
        }
      }
    }
  },
});
