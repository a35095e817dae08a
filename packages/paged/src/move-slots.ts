import {
  entryBytes,
  type HostArena,
  type HostCache,
  type Kernel,
  type Tensor,
} from "@kvcache/core";

/** Parameters of a kernel that executes a compaction's moves inside one arena. */
export interface MoveParams {
  readonly cache: HostCache;
  readonly arena: HostArena;
  readonly arenaIndex: number;
  /** i32 [M, 2]: physical slots (block × blockSize + offset), source then destination. */
  readonly moves: Tensor;
}

export type MoveKernel = Kernel<MoveParams>;

/** Moves entries as stored, with their positions and attention sums: moves [M, 2]. */
export function moveSlots(arena: HostArena, moves: Int32Array): void {
  const { storage, positions, sumAttention, sumSquaredAttention, layout } = arena;
  const { blockSize } = layout;
  const keyBytes = entryBytes(layout.key);
  const valueBytes = entryBytes(layout.value);
  const keysBytes = blockSize * keyBytes;
  const blockBytes = keysBytes + blockSize * valueBytes;
  for (let i = 0; i < moves.length; i += 2) {
    const from = moves[i]!;
    const to = moves[i + 1]!;
    const source = Math.floor(from / blockSize) * blockBytes;
    const target = Math.floor(to / blockSize) * blockBytes;
    const key = source + (from % blockSize) * keyBytes;
    const value = source + keysBytes + (from % blockSize) * valueBytes;
    storage.copyWithin(target + (to % blockSize) * keyBytes, key, key + keyBytes);
    storage.copyWithin(
      target + keysBytes + (to % blockSize) * valueBytes,
      value,
      value + valueBytes,
    );
    positions[to] = positions[from]!;
    sumAttention[to] = sumAttention[from]!;
    sumSquaredAttention[to] = sumSquaredAttention[from]!;
  }
}
