import type { KvShape } from "@kvcache/core";
import { randomFloats, randomNumbers } from "./random.ts";

/** Queries, keys and values that a token would have, after RoPE: [heads, headDim] each. */
export interface TokenVectors {
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
}

/** Gives every (sequence, layer, position) the same random vectors whenever it is asked. */
export type RandomTokens = (sequence: number, layer: number, position: number) => TokenVectors;

/** Each call with the same seed describes the same tokens. */
export function randomTokens(
  { numQueryHeads, numKvHeads, headDim }: KvShape,
  seed: number,
): RandomTokens {
  const known = new Map<string, TokenVectors>();
  return (sequence, layer, position) => {
    const name = `${sequence}/${layer}/${position}`;
    const made = known.get(name);
    if (made) return made;
    const random = randomNumbers(seed + 7919 * sequence + 104_729 * layer + 1_299_709 * position);
    const vectors = {
      query: randomFloats(random, numQueryHeads * headDim),
      key: randomFloats(random, numKvHeads * headDim),
      value: randomFloats(random, numKvHeads * headDim),
    };
    known.set(name, vectors);
    return vectors;
  };
}
