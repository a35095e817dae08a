import { defineKernel, hostArray, hostTensor, indptrOf } from "@kvcache/core";
import { createHostEncoder, type RowView, rowView, slotOf } from "@kvcache/kernels";
import { type MoveParams, moveSlots, type PagedCache } from "@kvcache/paged";
import { integers, type VectorCase } from "./case.ts";
import { cacheOf, shapeOf } from "./vector-cache.ts";

export interface RaggedCache {
  readonly cache: PagedCache;
  readonly sequence: number;
  readonly lengths: Int32Array;
  rowOf(row: number): RowView;
  /** Call before a compaction; the result, called after it, gives (source, destination) by row. */
  movesByRow(): () => readonly (readonly number[])[];
}

/** A cache whose rows have the case's lengths and slot positions [L, H, slots]. */
export async function raggedCache(
  vector: VectorCase,
  lengths: Int32Array,
  blockSize: number,
): Promise<RaggedCache> {
  const moves: number[] = [];
  const compaction = defineKernel<MoveParams>({
    name: "recorded-moves",
    reference({ arena, moves: pairs }) {
      moves.push(...hostArray(pairs, "i32"));
      moveSlots(arena, hostArray(pairs, "i32"));
    },
  });
  const shape = shapeOf(vector);
  const tokens = lengths.reduce((most, length) => Math.max(most, length), 0);
  const { cache, sequence } = cacheOf({ shape, tokens, windowSize: 0, blockSize, compaction });
  const rowOf = (row: number) =>
    rowView(cache.host, sequence, Math.floor(row / shape.numKvHeads), row % shape.numKvHeads);

  // Keeping the first slots of each row shortens it and moves nothing.
  const batch = cache.batch([sequence], { protect: { sinks: 0, recent: 0 }, phase: "decode" });
  const heads = Array.from(lengths, (length) => Array.from({ length }, (_, slot) => slot));
  await cache.compact(createHostEncoder(), batch, {
    indptr: hostTensor(indptrOfLists(heads)),
    indices: hostTensor(Uint32Array.from(heads.flat())),
  });
  const positions = integers(vector, "slotPositions")!;
  const slots = positions.length / lengths.length;
  lengths.forEach((length, row) => {
    const view = rowOf(row);
    for (let slot = 0; slot < length; slot++)
      view.arena.positions[slotOf(view, slot)] = positions[row * slots + slot]!;
  });

  return {
    cache,
    sequence,
    lengths,
    rowOf,
    movesByRow() {
      const logical = new Map<number, { readonly row: number; readonly slot: number }>();
      lengths.forEach((length, row) => {
        const view = rowOf(row);
        for (let slot = 0; slot < length; slot++) logical.set(slotOf(view, slot), { row, slot });
      });
      return () => {
        const byRow = Array.from(lengths, () => [] as number[]);
        for (let i = 0; i < moves.length; i += 2) {
          const { row, slot } = logical.get(moves[i]!)!;
          byRow[row]!.push(slot, logical.get(moves[i + 1]!)!.slot);
        }
        return byRow;
      };
    },
  };
}

/** Row starts of lists, in entries of `width` numbers: [lists + 1]. */
export const indptrOfLists = (lists: readonly (readonly number[])[], width = 1): Uint32Array =>
  indptrOf(lists.map((list) => list.length / width));
