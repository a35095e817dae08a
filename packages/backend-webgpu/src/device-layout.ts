import { type BlockLayout, blockBytes, type CacheLayout, KvCacheError } from "@kvcache/core";
import { maxHeadDim, type QuadDtype } from "@kvcache/kernels";

/** How an arena stores numbers. Throws `unsupported` for what the kernels cannot read. */
export function quadDtypeOf({ key, value }: BlockLayout): QuadDtype {
  const { dtype, width } = key;
  const alike = dtype === value.dtype && width === value.width;
  if ((dtype !== "f32" && dtype !== "f16") || key.metaBytes + value.metaBytes > 0 || !alike)
    throw new KvCacheError("unsupported", `WebGPU caches keys and values as f32 or f16 only.`, {
      value: { key, value },
      remedy: "Use cacheLayout(shape, { dtype }) with f32 or f16.",
    });
  if (width % 4 !== 0 || width > maxHeadDim)
    throw new KvCacheError(
      "unsupported",
      `WebGPU attends over heads of a multiple of 4 up to ${maxHeadDim} numbers, not ${width}.`,
      { value: width },
    );
  return dtype;
}

/**
 * Cuts arenas that one binding cannot show into several, by layers: `bytes[arena]` is what the
 * blocks of each take. Layers that read another's blocks go with it.
 */
export function fitArenas(
  layout: CacheLayout,
  bytes: readonly number[],
  maxBytes: number,
): CacheLayout {
  const arenas: BlockLayout[] = [];
  const arenaOfLayer = new Array<number>(layout.shape.numLayers);
  layout.arenas.forEach((arena, index) => {
    const owners = layout.layerMap.flatMap((owner, layer) =>
      owner === layer && layout.arenaOfLayer[layer] === index ? [layer] : [],
    );
    const perLayer = bytes[index]! / owners.length;
    if (perLayer > maxBytes)
      throw new KvCacheError(
        "out-of-memory",
        `A layer's blocks take ${perLayer} bytes, one buffer of this device shows ${maxBytes}.`,
        { value: bytes[index], remedy: "Give the cache less memory." },
      );
    const perPart = Math.min(owners.length, Math.floor(maxBytes / perLayer));
    for (let first = 0; first < owners.length; first += perPart) {
      for (const layer of owners.slice(first, first + perPart)) arenaOfLayer[layer] = arenas.length;
      arenas.push(arena);
    }
  });
  layout.layerMap.forEach((owner, layer) => {
    arenaOfLayer[layer] = arenaOfLayer[owner]!;
  });
  return Object.freeze({ ...layout, arenas, arenaOfLayer });
}

/** Throws `out-of-memory` where `numBlocks` blocks of an arena are more than one binding can show. */
export function checkArenas(
  { arenas }: CacheLayout,
  numBlocks: number | readonly number[],
  maxBytes: number,
): void {
  arenas.forEach((arena, index) => {
    const blocks = typeof numBlocks === "number" ? numBlocks : numBlocks[index]!;
    const bytes = blocks * blockBytes(arena);
    if (bytes > maxBytes)
      throw new KvCacheError(
        "out-of-memory",
        `${blocks} blocks take ${bytes} bytes, one buffer of this device shows ${maxBytes}.`,
        { value: blocks, remedy: "Give memoryBytes, which spreads layers over several buffers." },
      );
  });
}

/** Bytes that each arena takes when all have room for `memoryBytes` together, evenly by rows. */
export function arenaBytes(layout: CacheLayout, memoryBytes: number): number[] {
  const weights = layout.arenas.map((arena, index) => {
    const layers = layout.layerMap.filter(
      (owner, layer) => owner === layer && layout.arenaOfLayer[layer] === index,
    );
    return layers.length * blockBytes(arena);
  });
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => (memoryBytes * weight) / total);
}
