import { blocksFor, KvCacheError, type SequenceSlot } from "@kvcache/core";
import { blockToWrite, type CacheState } from "./cache-state.ts";
import { createPairList, type PairList } from "./pair-list.ts";
import {
  blocksToGrow,
  promisedBlocks,
  requireBlocks,
  setPromise,
  spareBlocks,
} from "./reservations.ts";

/** Rows to shorten: row rows[i] keeps the slots indices[indptr[i]] … of its own, ascending. */
export interface KeptRows {
  /** Index into the tables of the host cache: sequence × numRows + row. */
  readonly rows: Int32Array;
  readonly indptr: ArrayLike<number>;
  readonly indices: Uint32Array;
}

/**
 * What a compaction does, decided and not yet done: no table has changed, but the blocks that will
 * replace shared ones are taken. Either `commitPlan` or `abandonPlan` must follow.
 */
export interface CompactionPlan {
  readonly sequences: readonly SequenceSlot[];
  /**
   * Per arena: (source, destination) slots. No destination is a source or named twice, so the moves
   * may run in any order.
   */
  readonly moves: readonly PairList[];
  /** (row, length) after it. */
  readonly lengths: PairList;
  /** (index into the block tables, block that replaces the one there). */
  readonly replaced: PairList;
}

/**
 * Fills holes from the end: the k-th free slot below the new length receives the k-th kept slot
 * from the end (KV-Compress, arXiv:2410.00161). A shared block that would be written is written
 * anew elsewhere, kept slots included; with `unshare` every shared block is. Throws `out-of-blocks`
 * before the first change.
 */
export function planCompaction(
  state: CacheState,
  sequences: readonly SequenceSlot[],
  kept: KeptRows,
  unshare = false,
): CompactionPlan {
  const spare = checkRoom(state, sequences, kept, unshare);
  const plan: CompactionPlan = {
    sequences,
    moves: state.pools.map(createPairList),
    lengths: createPairList(),
    replaced: createPairList(),
  };
  const rewrite = { spare, unshare };
  for (let i = 0; i < kept.rows.length; i++)
    planRow(
      state,
      plan,
      kept.rows[i]!,
      kept.indices,
      kept.indptr[i]!,
      kept.indptr[i + 1]!,
      rewrite,
    );
  return plan;
}

/** Which shared blocks are written anew, and what may be taken for it. */
interface Rewrite {
  /** Per arena: blocks that may be taken to copy what the prefix index alone shares. */
  readonly spare: Int32Array;
  readonly unshare: boolean;
}

function planRow(
  state: CacheState,
  plan: CompactionPlan,
  row: number,
  kept: Uint32Array,
  begin: number,
  end: number,
  { spare, unshare }: Rewrite,
): void {
  const { host, blockSize, pools } = state;
  const length = end - begin;
  const whole = length === host.lengths[row];
  if (whole && !unshare) return;
  const arena = state.arenaOfRow[row % state.numRows]!;
  const table = row * host.maxBlocksPerRow;
  const moves = plan.moves[arena]!;
  const slotOf = (slot: number) =>
    host.blockTables[table + Math.floor(slot / blockSize)]! * blockSize + (slot % blockSize);

  if (!whole) plan.lengths.push(row, length);
  let front = begin;
  let back = end;
  for (let start = 0; start < length; start += blockSize) {
    const stop = Math.min(length, start + blockSize);
    const next = upTo(kept, front, end, stop);
    const index = table + start / blockSize;
    const block = host.blockTables[index]!;
    const hasHoles = next - front < stop - start;
    if (hasHoles || (unshare && !pools[arena]!.isExclusive(block))) {
      const own = blockToWrite(state, arena, block, spare);
      if (own !== block) plan.replaced.push(index, own);
      for (let slot = start; slot < stop; slot++) {
        const destination = own * blockSize + slot - start;
        const stays = front < next && kept[front] === slot;
        if (stays) front++;
        if (!stays) moves.push(slotOf(kept[--back]!), destination);
        else if (own !== block) moves.push(slotOf(slot), destination);
      }
    }
    front = next;
  }
}

/** First entry of kept[from … end) that is not below `slot`. */
function upTo(kept: Uint32Array, from: number, end: number, slot: number): number {
  let at = from;
  while (at < end && kept[at]! < slot) at++;
  return at;
}

/**
 * Checks kept slots and blocks. Returns, per arena, the blocks that may be taken to copy what the
 * prefix index alone shares.
 */
function checkRoom(
  state: CacheState,
  sequences: readonly SequenceSlot[],
  { rows, indptr, indices }: KeptRows,
  unshare: boolean,
): Int32Array {
  const { host, blockSize, pools, numRows } = state;
  const copies = new Int32Array(pools.length);
  const freed = new Int32Array(pools.length);
  const promised = new Int32Array(pools.length);
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    const arena = state.arenaOfRow[row % numRows]!;
    const table = row * host.maxBlocksPerRow;
    const users = (index: number) => pools[arena]!.users(host.blockTables[table + index]!);
    const before = host.lengths[row]!;
    const begin = indptr[i]!;
    const end = indptr[i + 1]!;
    checkKept(indices, begin, end, before);
    const length = end - begin;
    let front = begin;
    let lastShared = false;
    for (let start = 0; start < length; start += blockSize) {
      const stop = Math.min(length, start + blockSize);
      const next = length === before ? front + stop - start : upTo(indices, front, end, stop);
      const shared = users(start / blockSize) > 1;
      const written = unshare || next - front < stop - start;
      if (shared && written) copies[arena]!++;
      lastShared = shared && !written && stop % blockSize !== 0;
      front = next;
    }
    const held = blocksFor(length, blockSize);
    for (let index = held; index < blocksFor(before, blockSize); index++)
      if (users(index) === 1) freed[arena]!++;
    const sequence = Math.floor(row / numRows);
    const tokens = state.promisedTokens[sequence]!;
    const chunk = state.promisedChunks[sequence]!;
    if (tokens > 0)
      promised[arena]! +=
        blocksToGrow(state, row % numRows, length, tokens, chunk) + (lastShared ? 1 : 0);
  }
  // Copies are taken before anything is freed; afterwards every promise must be as good as before.
  const free = (arena: number) => pools[arena]!.numFree + pools[arena]!.numReclaimable;
  requireBlocks(copies, free, "Rewriting shared blocks");
  const kept = (arena: number) =>
    sequences.reduce((sum, sequence) => sum + promisedBlocks(state, sequence, arena), 0);
  requireBlocks(
    copies,
    (arena) => spareBlocks(state, arena) + freed[arena]! + kept(arena) - promised[arena]!,
    "Rewriting shared blocks beside what is reserved",
  );
  return Int32Array.from(pools, (_, arena) => free(arena) - copies[arena]!);
}

function checkKept(kept: Uint32Array, begin: number, end: number, length: number): void {
  for (let at = begin; at < end; at++)
    if (kept[at]! >= length || (at > begin && kept[at]! <= kept[at - 1]!))
      throw new KvCacheError(
        "invalid-argument",
        `Kept slot ${kept[at]} of a row of ${length} is out of range or not ascending.`,
        { value: kept[at], remedy: "Name every kept slot of a row once, lowest first." },
      );
}

/** Makes the plan true, once its moves ran: tables, lengths, freed blocks, promises. */
export function commitPlan(state: CacheState, plan: CompactionPlan): void {
  const { host, blockSize, pools, numRows } = state;
  const poolOf = (row: number) => pools[state.arenaOfRow[row % numRows]!]!;
  const replaced = plan.replaced.view();
  for (let i = 0; i < replaced.length; i += 2) {
    const index = replaced[i]!;
    poolOf(Math.floor(index / host.maxBlocksPerRow)).release(host.blockTables[index]!);
    host.blockTables[index] = replaced[i + 1]!;
  }
  const lengths = plan.lengths.view();
  for (let i = 0; i < lengths.length; i += 2) {
    const row = lengths[i]!;
    const table = row * host.maxBlocksPerRow;
    const held = blocksFor(host.lengths[row]!, blockSize);
    host.lengths[row] = lengths[i + 1]!;
    for (let index = blocksFor(lengths[i + 1]!, blockSize); index < held; index++) {
      poolOf(row).release(host.blockTables[table + index]!);
      host.blockTables[table + index] = -1;
    }
  }
  for (const sequence of plan.sequences)
    setPromise(state, sequence, state.promisedTokens[sequence]!);
}

/** Gives back what the plan took. */
export function abandonPlan(state: CacheState, plan: CompactionPlan): void {
  const replaced = plan.replaced.view();
  for (let i = 0; i < replaced.length; i += 2) {
    const row = Math.floor(replaced[i]! / state.host.maxBlocksPerRow);
    state.pools[state.arenaOfRow[row % state.numRows]!]!.release(replaced[i + 1]!);
  }
}
