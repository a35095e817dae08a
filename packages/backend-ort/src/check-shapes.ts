import { KvCacheError, type KvShape } from "@kvcache/core";

/** Throws `invalid-argument` unless a cache was made for models of this shape. */
export function checkShapes(model: KvShape, cache: KvShape): void {
  for (const key of ["numLayers", "numQueryHeads", "numKvHeads", "headDim"] as const)
    if (model[key] !== cache[key])
      throw new KvCacheError(
        "invalid-argument",
        `The model has ${key} ${model[key]}, the cache ${cache[key]}.`,
        { value: cache[key], remedy: "Create the cache with the shape of the model." },
      );
}
