import { type EntryLayout, type HostCache, KvCacheError } from "@kvcache/core";
import type { NativeCache } from "./native-addon.ts";

/** Describes a host cache to the native library. Throws `unsupported` for codecs it cannot read. */
export function nativeCache(host: HostCache): NativeCache {
  const { shape, layerMap } = host.layout;
  return {
    numLayers: shape.numLayers,
    numQueryHeads: shape.numQueryHeads,
    numKvHeads: shape.numKvHeads,
    headDim: shape.headDim,
    maxSequences: host.maxSequences,
    maxBlocksPerRow: host.maxBlocksPerRow,
    windowSize: host.windowSize,
    arenas: host.arenas.map(({ layout, numBlocks, ...arrays }) => ({
      storage: arrays.storage,
      positions: arrays.positions,
      sumAttention: arrays.sumAttention,
      sumSquaredAttention: arrays.sumSquaredAttention,
      blockSize: layout.blockSize,
      numBlocks,
      keyDtype: dtypeCode(layout.key),
      keyWidth: layout.key.width,
      valueDtype: dtypeCode(layout.value),
      valueWidth: layout.value.width,
    })),
    arenaOfLayer: host.arenaOfLayer,
    layerMap: Int32Array.from(layerMap),
    blockTables: host.blockTables,
    lengths: host.lengths,
    nextPositions: host.nextPositions,
    windowQueries: host.windowQueries,
  };
}

function dtypeCode(entry: EntryLayout): number {
  if (entry.metaBytes === 0 && entry.dtype === "f32") return 0;
  if (entry.metaBytes === 0 && entry.dtype === "f16") return 1;
  throw new KvCacheError(
    "unsupported",
    `This backend cannot read cache entries stored as ${entry.dtype}.`,
    { value: entry, remedy: "Use a cache of f32 or f16, or another backend." },
  );
}
