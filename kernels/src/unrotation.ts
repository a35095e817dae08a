import {
  attentionFactor,
  type KvBatch,
  KvCacheError,
  type ModelView,
  type RopeParameters,
  ropeTable,
} from "@kvcache/core";
import type { BatchRow } from "./batch-rows.ts";
import { gatherKeys, gatherPositions } from "./row-view.ts";

/** What the batch knows of the model. Throws `missing-signal` when it knows nothing. */
export function modelOf({ model }: KvBatch): ModelView {
  if (model) return model;
  throw new KvCacheError("missing-signal", "This score needs the model's RoPE parameters.", {
    remedy: "Give the batch a model, as the engine does.",
  });
}

/** Gives the keys of a batch's rows as they were before RoPE: f32 [length, headDim], slot order. */
export type KeysBeforeRope = (row: BatchRow) => Float32Array;

/**
 * Undoes the rotation of cached keys by their slots' positions; numbers of a head that RoPE leaves
 * alone stay. Tables are made once for all rows that share them. RoPE that depends on the length of
 * a call is undone for the length that the sequence has now, which is right at a prompt's end.
 * Throws `missing-signal` for a batch that does not know its model.
 */
export function unrotation(batch: KvBatch): KeysBeforeRope {
  const model = modelOf(batch);
  const tables = new Map<string, RotationTable>();
  return (row) => {
    const keys = gatherKeys(row.view);
    const rope = model.rope(row.layer);
    if (!rope) return keys;
    const length = batch.nextPositions[row.sequenceIndex]!;
    const name = JSON.stringify([rope, length]);
    const table = tables.get(name) ?? rotationTable(rope, length);
    tables.set(name, table);
    unrotate(keys, gatherPositions(row.view), batch.shape.headDim, table);
    return keys;
  };
}

/** Cosines and sines of positions 0 … length − 1: [length, dim / 2]. */
export interface RotationTable {
  readonly half: number;
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  /** What undoing must multiply by: 1 / factor², for cos and sin carry the factor. */
  readonly scale: number;
}

export function rotationTable(rope: RopeParameters, length: number): RotationTable {
  const half = rope.dim / 2;
  const cos = new Float32Array(length * half);
  const sin = new Float32Array(length * half);
  const positions = Int32Array.from({ length }, (_, position) => position);
  ropeTable(rope, positions, new Int32Array(length).fill(length), cos, sin);
  return { half, cos, sin, scale: attentionFactor(rope) ** -2 };
}

/** Turns keys [positions.length, headDim] back, in place. */
export function unrotate(
  keys: Float32Array,
  positions: Int32Array,
  headDim: number,
  { half, cos, sin, scale }: RotationTable,
): void {
  for (let j = 0; j < positions.length; j++) {
    const angle = positions[j]! * half;
    for (let i = 0, at = j * headDim; i < half; i++, at++) {
      const x1 = keys[at]!;
      const x2 = keys[at + half]!;
      const c = cos[angle + i]! * scale;
      const s = sin[angle + i]! * scale;
      keys[at] = x1 * c + x2 * s;
      keys[at + half] = x2 * c - x1 * s;
    }
  }
}

/**
 * Rotations of every sequence and layer of a batch, for native kernels: where the table of each
 * begins in `cos` and `sin` (−1: nothing is rotated), pairs per position, factor of undoing.
 */
export interface RotationTables {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  readonly begins: Int32Array;
  readonly halves: Int32Array;
  readonly scales: Float32Array;
}

export function rotationTables(batch: KvBatch): RotationTables {
  const model = modelOf(batch);
  const known = new Map<string, RotationTable & { readonly begin: number }>();
  const tables: RotationTable[] = [];
  let size = 0;
  const pairs = batch.nextPositions.flatMap((length) =>
    batch.layers.map((layer) => {
      const rope = model.rope(layer);
      if (!rope) return undefined;
      const name = JSON.stringify([rope, length]);
      const found = known.get(name);
      if (found) return found;
      const table = { ...rotationTable(rope, length), begin: size };
      known.set(name, table);
      tables.push(table);
      size += table.cos.length;
      return table;
    }),
  );
  const joined = (side: "cos" | "sin") => {
    const out = new Float32Array(Math.max(1, size));
    let at = 0;
    for (const table of tables) {
      out.set(table[side], at);
      at += table[side].length;
    }
    return out;
  };
  return {
    cos: joined("cos"),
    sin: joined("sin"),
    begins: Int32Array.from(pairs, (table) => table?.begin ?? -1),
    halves: Int32Array.from(pairs, (table) => table?.half ?? 0),
    scales: Float32Array.from(pairs, (table) => table?.scale ?? 1),
  };
}
