import { defineKernel, hostArray, type Tensor } from "@kvcache/core";

export interface RetentionGateParams {
  /** Projected queries, f32 [numTokens, heads × group × width]. */
  readonly queries: Tensor;
  /** Projected keys, f32 [numTokens, heads × width]. */
  readonly keys: Tensor;
  readonly numTokens: number;
  /** Weights of the RMS norms of queries and keys, f32 [width] each. */
  readonly queryNorm: Tensor;
  readonly keyNorm: Tensor;
  readonly normEpsilon: number;
  /** Keys that a token's own key competes with, f32 [heads, numBaseKeys, width]. */
  readonly baseKeys: Tensor;
  /** f32 [heads, group]. */
  readonly bias: Tensor;
  readonly heads: number;
  /** f32 [heads, numTokens]. */
  readonly out: Tensor;
}

/**
 * A token's own share of attention among base keys: 1 / (1 + Σ exp(base·q/√w − k·q/√w − bias)), q and
 * k after RMS norm, averaged over the queries of a head's group.
 */
export const retentionGate = defineKernel<RetentionGateParams>({
  name: "retention-gate",
  reference(params) {
    const { numTokens, normEpsilon, heads } = params;
    const [queries, keys] = [hostArray(params.queries, "f32"), hostArray(params.keys, "f32")];
    const [queryNorm, keyNorm] = [
      hostArray(params.queryNorm, "f32"),
      hostArray(params.keyNorm, "f32"),
    ];
    const [base, bias] = [hostArray(params.baseKeys, "f32"), hostArray(params.bias, "f32")];
    const width = queryNorm.length;
    const group = bias.length / heads;
    const perHead = base.length / heads;
    const scale = 1 / Math.sqrt(width);
    const key = new Float64Array(width);
    const query = new Float64Array(width);
    for (let head = 0; head < heads; head++) {
      const out = hostArray(params.out, "f32").subarray(head * numTokens, (head + 1) * numTokens);
      for (let token = 0; token < numTokens; token++) {
        normed(keys, (token * heads + head) * width, keyNorm, normEpsilon, key);
        let total = 0;
        for (let member = 0; member < group; member++) {
          const at = ((token * heads + head) * group + member) * width;
          normed(queries, at, queryNorm, normEpsilon, query);
          let own = bias[head * group + member]!;
          for (let c = 0; c < width; c++) own += query[c]! * key[c]! * scale;
          let others = 0;
          for (let from = head * perHead; from < (head + 1) * perHead; from += width) {
            let logit = 0;
            for (let c = 0; c < width; c++) logit += base[from + c]! * query[c]!;
            others += Math.exp(logit * scale - own);
          }
          total += 1 / (1 + others);
        }
        out[token] = total / group;
      }
    }
  },
  native: ({ queries, keys, queryNorm, keyNorm, baseKeys, bias, ...params }) => ({
    inputs: [queries, keys, queryNorm, keyNorm, baseKeys, bias],
    outputs: [params.out],
    integers: [params.out.length, params.numTokens, params.heads, bias.length / params.heads],
    floats: [params.normEpsilon],
  }),
});

/** RMS norm of from[at …], times weights. */
function normed(
  from: Float32Array,
  at: number,
  weights: Float32Array,
  epsilon: number,
  out: Float64Array,
): void {
  let squares = 0;
  for (let c = 0; c < out.length; c++) squares += from[at + c]! ** 2;
  const factor = 1 / Math.sqrt(squares / out.length + epsilon);
  for (let c = 0; c < out.length; c++) out[c] = from[at + c]! * factor * weights[c]!;
}
