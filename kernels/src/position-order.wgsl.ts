import type { KvBatch, Tensor, WgslArena, WgslBatch, WgslRecorder } from "@kvcache/core";
import { rowDispatch, slotDispatch } from "./arena-rows.wgsl.ts";
import { threads } from "./wgsl-thread.ts";
import { scanCode } from "./workgroup-scan.wgsl.ts";

/*
 * Positions of a row are marked as bits; a token's place among them is the number of bits below its
 * own. That takes as many words as a sequence has positions, and no sorting.
 */

/** A thread per slot. */
const markCode = /* wgsl */ `
  let position = side[slotOf(row, j)];
  atomicOr(&marks[2u * (row.index * params.words + position / 32u)], 1u << (position % 32u));
`;

/** A workgroup per row. */
const countCode = /* wgsl */ `
  let base = 2u * row.index * params.words;
  let run = (params.words + ${threads - 1}u) / ${threads}u;
  let first = min(lane * run, params.words);
  let end = min(first + run, params.words);
  var total = 0u;
  for (var w = first; w < end; w++) { total += countOneBits(marks[base + 2u * w]); }
  var below = sumBefore(lane, total);
  for (var w = first; w < end; w++) {
    marks[base + 2u * w + 1u] = below;
    below += countOneBits(marks[base + 2u * w]);
  }
`;

/** Slots of every row by position. */
export interface PositionOrder {
  /** u32 [totalSlots]: slot of the k-th token of a row. */
  readonly order: Tensor;
  /**
   * u32 [numRows, words, 2]: which positions of a word of 32 the row holds, and how many of its
   * tokens stand before them.
   */
  readonly marks: Tensor;
  readonly words: number;
}

/** Memory for {@link recordPositionOrder}, for all arenas of a batch. */
export function positionOrder(recorder: WgslRecorder, batch: KvBatch): PositionOrder {
  const words = Math.ceil(Math.max(1, ...batch.nextPositions) / 32);
  return {
    order: recorder.tensor("u32", batch.totalSlots),
    marks: recorder.tensor("u32", 2 * words * batch.numRows),
    words,
  };
}

/** WGSL: `placeOf(row, position)`, how many tokens stand before a position; reads `marks`. */
export const placeOfCode = /* wgsl */ `
fn placeOf(row: Row, position: u32) -> u32 {
  let at = 2u * (row.index * params.words + position / 32u);
  let lower = (1u << (position % 32u)) - 1u;
  return marks[at + 1u] + countOneBits(marks[at] & lower);
}
`;

const orderCode = /* wgsl */ `
  order[row.begin + placeOf(row, side[slotOf(row, j)])] = j;
`;

export function recordPositionOrder(
  recorder: WgslRecorder,
  batch: WgslBatch,
  arena: WgslArena,
  { order, marks, words }: PositionOrder,
): void {
  const u32 = { words };
  recorder.dispatch(
    slotDispatch(batch, arena, {
      name: "position-order, marks",
      body: markCode,
      u32,
      side: "read",
      reads: {},
      writes: { marks: { buffer: marks, type: "atomic<u32>" } },
    }),
  );
  recorder.dispatch(
    rowDispatch(batch, arena, {
      name: "position-order, counts",
      declarations: scanCode(threads),
      body: countCode,
      u32,
      side: "none",
      reads: {},
      writes: { marks: { buffer: marks, type: "u32" } },
    }),
  );
  recorder.dispatch(
    slotDispatch(batch, arena, {
      name: "position-order",
      declarations: placeOfCode,
      body: orderCode,
      u32,
      side: "read",
      reads: { marks: { buffer: marks, type: "u32" } },
      writes: { order: { buffer: order, type: "u32" } },
    }),
  );
}

/** WGSL: `slotAt(row, position)`, a slot of that row or −1; reads `order`, `marks`, `params.words`. */
export const slotAtCode = /* wgsl */ `
${placeOfCode}
fn slotAt(row: Row, position: u32) -> i32 {
  let word = marks[2u * (row.index * params.words + position / 32u)];
  if (((word >> (position % 32u)) & 1u) == 0u) { return -1; }
  return i32(order[row.begin + placeOf(row, position)]);
}
`;
