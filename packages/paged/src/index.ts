export { type BlockPool, createBlockPool } from "./block-pool.ts";
export type { CacheMemory, SavedQueries } from "./cache-memory.ts";
export { type RowEntries, readRow, writeEntries } from "./entries.ts";
export { createFileSwap, type FileSwapOptions } from "./file-swap.ts";
export { type MoveKernel, type MoveParams, moveSlots } from "./move-slots.ts";
export { createPagedCache, type PagedCache, type PagedCacheOptions } from "./paged-cache.ts";
export {
  readSnapshot,
  readSnapshotMeta,
  type SnapshotMeta,
  writeSnapshot,
} from "./snapshot-file.ts";
