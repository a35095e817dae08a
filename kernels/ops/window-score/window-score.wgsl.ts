import { groupSize, type Tensor, type WgslKernel } from "@kvcache/core";
import { slotDispatch } from "../../src/arena-rows.wgsl.ts";
import { pooledCode } from "../../src/pooling.wgsl.ts";
import { positionOrder, recordPositionOrder, slotAtCode } from "../../src/position-order.wgsl.ts";
import {
  longestWindow,
  recordWindowStatistics,
  recordWindowSums,
  windowsOf,
} from "../../src/window-pass.wgsl.ts";
import type { WindowScoreParams } from "./window-score.ts";
import { type WindowSettings, windowSettings } from "./window-settings.ts";

/** WGSL: `isScored(row, k)`, whether the k-th token stands before the window, where that matters. */
const scoredCode = (excludeWindow: boolean) => /* wgsl */ `
fn isScored(row: Row, k: u32) -> bool {
  let position = bitcast<i32>(side[slotOf(row, order[row.begin + k])]);
  let first = sequences[2u * row.sequence] - sequences[2u * row.sequence + 1u];
  return ${excludeWindow ? "position < first" : "true"};
}
`;

/** Sums of slabs and query heads → one number a token. A thread per token, by position. */
const reduceCode = ({ batch, pooling, poolFirst, groupReduce, rowReduce }: WindowSettings) => {
  const at = "(s * groupSize + member) * params.totalSlots + row.begin";
  const value = pooling && poolFirst ? `pooled(row, j, ${at})` : `values[${at} + slot]`;
  return /* wgsl */ `
  let groupSize = ${groupSize(batch.shape)}u;
  let slot = order[row.begin + j];
  if (!isScored(row, j)) {
    totals[row.begin + slot] = 0.0;
    return;
  }
  var total = 0.0;
  for (var member = 0u; member < groupSize; member++) {
    var sum = 0.0;
    for (var s = 0u; s < params.numSlabs; s++) { sum += ${value}; }
    ${rowReduce === "mean" ? "sum /= f32(sequences[2u * row.sequence + 1u]);" : ""}
    total = ${groupReduce === "max" ? "max(total, sum)" : "total + sum"};
  }
  totals[row.begin + slot] = total;
`;
};

/** Rows of a layer may hold different tokens: they meet by position. */
const mergeCode = ({ batch, groupReduce }: WindowSettings) => /* wgsl */ `
  let position = side[slotOf(row, j)];
  var total = 0.0;
  for (var head = 0u; head < ${batch.shape.numKvHeads}u; head++) {
    let other = rowOf(r - row.head + head);
    let slot = slotAt(other, position);
    if (slot >= 0) {
      let value = values[other.begin + u32(slot)];
      total = ${groupReduce === "max" ? "max(total, value)" : "total + value"};
    }
  }
  totals[row.begin + j] = total;
`;

const finishCode = ({ batch, allHeads, pooling, poolFirst, groupReduce }: WindowSettings) => {
  const heads = allHeads ? batch.shape.numQueryHeads : groupSize(batch.shape);
  const value = pooling && !poolFirst ? "pooled(row, j, row.begin)" : "values[row.begin + slot]";
  return /* wgsl */ `
  let slot = order[row.begin + j];
  var score = 0.0;
  if (isScored(row, j)) { score = ${value}${groupReduce === "mean" ? ` / ${heads}.0` : ""}; }
  scores[row.begin + slot] = score;
`;
};

export const windowScoreWgsl: WgslKernel<WindowScoreParams> = {
  record(params, recorder) {
    const own = recorder.batch(params.batch);
    const settings = windowSettings(params, own.windowSize);
    const { batch, pooling, poolFirst, allHeads, excludeWindow } = settings;
    const { totalSlots } = batch;
    const window = longestWindow(settings);
    // Slabs matter only where each is pooled for itself.
    const slabSize = pooling && poolFirst && settings.slab ? settings.slab : window;
    const numSlabs = Math.ceil(window / slabSize);
    const sums = recorder.tensor("f32", numSlabs * groupSize(batch.shape) * totalSlots);
    const totals = recorder.tensor("f32", totalSlots);
    const merged = allHeads ? recorder.tensor("f32", totalSlots) : totals;
    const tokens = positionOrder(recorder, batch);
    const bound = (buffer: Tensor, type = "f32") => ({ buffer, type });
    const sequences = bound(windowsOf(settings), "i32");
    const order = bound(tokens.order, "u32");
    const pool = pooling ? pooledCode(pooling) : "";
    for (const arena of own.arenas) {
      recordPositionOrder(recorder, own, arena, tokens);
      const pass = recordWindowStatistics(recorder, own, arena, settings);
      recordWindowSums(recorder, pass, { ...settings, slabSize, firstSlab: 0, numSlabs, sums });
      recorder.dispatch(
        slotDispatch(own, arena, {
          name: "window-score, reduce",
          declarations: scoredCode(excludeWindow) + pool,
          body: reduceCode(settings),
          u32: { totalSlots, numSlabs },
          side: "read",
          reads: { sequences, order, values: bound(sums) },
          writes: { totals: bound(totals) },
        }),
      );
      if (allHeads)
        recorder.dispatch(
          slotDispatch(own, arena, {
            name: "window-score, merge",
            declarations: slotAtCode,
            body: mergeCode(settings),
            u32: { words: tokens.words },
            side: "read",
            reads: { order, marks: bound(tokens.marks, "u32"), values: bound(totals) },
            writes: { totals: bound(merged) },
          }),
        );
      recorder.dispatch(
        slotDispatch(own, arena, {
          name: "window-score, finish",
          declarations: scoredCode(excludeWindow) + pool,
          body: finishCode(settings),
          side: "read",
          reads: { sequences, order, values: bound(merged) },
          writes: { scores: bound(params.out) },
        }),
      );
    }
  },
};
