import type { KvShape } from "@kvcache/core";
import { randomFloats, randomInteger, randomNumbers } from "./random.ts";

/** What a token would have in a layer: vectors of a decoder, without a decoder. */
export interface TokenVectors {
  /** After RoPE: [heads, headDim] each. */
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
  /** Input of the attention block after its norm, and before it: [hiddenSize]. */
  readonly hidden: Float32Array;
  readonly residual: Float32Array;
}

/** Gives every (sequence, layer, position) the same random vectors whenever it is asked. */
export type RandomTokens = (sequence: number, layer: number, position: number) => TokenVectors;

/** Another number than any of the widths beside it, so that mixing them up shows. */
export const hiddenSizeOf = ({ numQueryHeads, headDim }: KvShape): number =>
  numQueryHeads * headDim + 3;

/** Each call with the same seed describes the same tokens. */
export function randomTokens(shape: KvShape, seed: number): RandomTokens {
  const { numQueryHeads, numKvHeads, headDim } = shape;
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
      hidden: randomFloats(random, hiddenSizeOf(shape)),
      residual: randomFloats(random, hiddenSizeOf(shape)),
    };
    known.set(name, vectors);
    return vectors;
  };
}

/** Id of the token at a position of a sequence, below 97. */
export const randomTokenId = (seed: number, sequence: number, position: number): number =>
  randomInteger(randomNumbers(seed + 31 * sequence + 15_485_863 * position), 0, 96);
