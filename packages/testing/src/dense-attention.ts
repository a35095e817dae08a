import { groupSize, type KvShape } from "@kvcache/core";
import type { RandomTokens } from "./random-tokens.ts";

/**
 * Attention of one token over given positions, per KV head, in float64 and without a cache: what
 * masking all other positions gives. `visible(head)` are the positions the head sees, the token's
 * own among them. Returns [numQueryHeads × headDim].
 */
export function denseAttention(
  shape: KvShape,
  tokens: RandomTokens,
  at: { readonly sequence: number; readonly layer: number; readonly position: number },
  visible: (head: number) => Iterable<number>,
): Float64Array {
  const { numQueryHeads, headDim } = shape;
  const { query } = tokens(at.sequence, at.layer, at.position);
  const out = new Float64Array(numQueryHeads * headDim);
  for (let queryHead = 0; queryHead < numQueryHeads; queryHead++) {
    const head = Math.floor(queryHead / groupSize(shape));
    let total = 0;
    for (const position of visible(head)) {
      const { key, value } = tokens(at.sequence, at.layer, position);
      let dot = 0;
      for (let c = 0; c < headDim; c++)
        dot += query[queryHead * headDim + c]! * key[head * headDim + c]!;
      const weight = Math.exp(dot / Math.sqrt(headDim));
      total += weight;
      for (let c = 0; c < headDim; c++)
        out[queryHead * headDim + c]! += weight * value[head * headDim + c]!;
    }
    for (let c = 0; c < headDim; c++) out[queryHead * headDim + c]! /= total;
  }
  return out;
}
