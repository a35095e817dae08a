import { KvCacheError } from "./errors.ts";

/** The numbers of a decoder that its KV cache depends on. */
export interface KvShape {
  readonly numLayers: number;
  readonly numQueryHeads: number;
  readonly numKvHeads: number;
  /** Values per head of a query, key or value. */
  readonly headDim: number;
}

/** Query heads that read one KV head: query head h reads KV head floor(h / groupSize). */
export const groupSize = (shape: KvShape): number => shape.numQueryHeads / shape.numKvHeads;

/** Rows of one sequence: row = layer × numKvHeads + head. */
export const numRows = (shape: KvShape): number => shape.numLayers * shape.numKvHeads;

/** Throws `invalid-argument` unless all counts are positive integers and the heads form groups. */
export function checkShape(shape: KvShape): KvShape {
  for (const key of ["numLayers", "numQueryHeads", "numKvHeads", "headDim"] as const) {
    const value = shape[key];
    if (!Number.isInteger(value) || value < 1)
      throw new KvCacheError(
        "invalid-argument",
        `shape.${key} must be a positive integer, got ${value}.`,
        { value },
      );
  }
  if (shape.numQueryHeads % shape.numKvHeads !== 0)
    throw new KvCacheError(
      "invalid-argument",
      `${shape.numQueryHeads} query heads cannot be shared evenly by ${shape.numKvHeads} KV heads.`,
      { value: shape },
    );
  return shape;
}
