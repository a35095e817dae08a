import {
  attentionFactor,
  defineKernel,
  hostArray,
  type KeepSet,
  type KvBatch,
  KvCacheError,
  type RopeParameters,
} from "@kvcache/core";
import { type BatchRow, forEachRow } from "../../src/batch-rows.ts";
import { entryStore } from "../../src/entry-store.ts";
import { gatherKeys, slotOf } from "../../src/row-view.ts";
import { modelOf, type RotationTable, rotationTable, unrotate } from "../../src/unrotation.ts";

export interface RerotateKeysParams {
  readonly batch: KvBatch;
  readonly keep: KeepSet;
}

/**
 * Moves the kept tokens of every row to the positions 0, 1, 2 … in their order: keys are turned back
 * by as much as their token moves, in place, and the slots remember the new positions. Throws
 * `missing-signal` for a batch that does not know its model, `unsupported` for RoPE whose frequencies
 * depend on the length of the call.
 */
export const rerotateKeys = defineKernel<RerotateKeysParams>({
  name: "rerotate-keys",
  reference({ batch, keep }) {
    const model = modelOf(batch);
    const indptr = hostArray(keep.indptr, "u32");
    const indices = hostArray(keep.indices, "u32");
    const length = batch.nextPositions.reduce((most, next) => Math.max(most, next), 1);
    const tables = new Map<string, RotationTable>();
    const tableOf = (rope: RopeParameters) => {
      const name = JSON.stringify(rope);
      const made = tables.get(name) ?? turnTable(rope, length);
      tables.set(name, made);
      return made;
    };
    forEachRow(batch, (row) => {
      const rope = model.rope(row.layer);
      const kept = indices.subarray(indptr[row.row]!, indptr[row.row + 1]!);
      rerotateRow(row, kept, batch.shape.headDim, rope && tableOf(rope));
    });
  },
});

/** Angles of moves by 0 … length − 1 positions; the factor that keys carry stays on them. */
function turnTable(rope: RopeParameters, length: number): RotationTable {
  const { type } = rope.scaling;
  if (type === "dynamic" || type === "longrope")
    throw new KvCacheError("unsupported", `Keys with ${type} RoPE cannot be rotated again.`, {
      value: rope.scaling,
      remedy: "Use a policy that leaves positions as they are.",
    });
  return { ...rotationTable(rope, length), scale: 1 / attentionFactor(rope) };
}

function rerotateRow(
  { view }: BatchRow,
  kept: Uint32Array,
  headDim: number,
  table: RotationTable | undefined,
): void {
  const { positions, layout } = view.arena;
  const places = Array.from(kept, (slot) => slotOf(view, slot));
  const order = [...places.keys()].sort((a, b) => positions[places[a]!]! - positions[places[b]!]!);
  const moves = Int32Array.from(order, (i, place) => positions[places[i]!]! - place);
  if (table) {
    const all = gatherKeys(view);
    const keys = new Float32Array(kept.length * headDim);
    order.forEach((i, place) => {
      const from = kept[i]! * headDim;
      keys.set(all.subarray(from, from + headDim), place * headDim);
    });
    unrotate(keys, moves, headDim, table);
    const store = entryStore(view.arena, "key");
    order.forEach((i, place) => {
      const slot = places[i]!;
      const block = Math.floor(slot / layout.blockSize);
      store.write(block, slot % layout.blockSize, keys, place * headDim);
    });
  }
  order.forEach((i, place) => {
    positions[places[i]!] = place;
  });
}
