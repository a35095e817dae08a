import { hostTensor, type WgslKernel } from "@kvcache/core";
import { slotDispatch } from "../../src/arena-rows.wgsl.ts";
import { placeOfCode, positionOrder, recordPositionOrder } from "../../src/position-order.wgsl.ts";
import type { RaiseRecentParams } from "./raise-recent.ts";

const body = /* wgsl */ `
  let recent = min(row.length, recentOf[counts[row.index]]);
  let place = placeOf(row, side[slotOf(row, j)]);
  let raised = place + recent >= row.length;
  let score = bitcast<u32>(scores[row.begin + j]);
  out[row.begin + j] = bitcast<f32>(select(score, params.infinity, raised));
`;

/** Parts of counts are cut on the host, in double precision: one for every possible count. */
export const raiseRecentWgsl: WgslKernel<RaiseRecentParams> = {
  record({ batch, scores, counts, share, out }, recorder) {
    const own = recorder.batch(batch);
    const longest = Math.max(...own.arenas.map(({ longestRow }) => longestRow));
    const recentOf = Uint32Array.from({ length: longest + 1 }, (_, count) =>
      Math.trunc(share * count),
    );
    const tokens = positionOrder(recorder, batch);
    const table = hostTensor(recentOf);
    for (const arena of own.arenas) {
      recordPositionOrder(recorder, own, arena, tokens);
      recorder.dispatch(
        slotDispatch(own, arena, {
          name: "raise-recent",
          declarations: placeOfCode,
          body,
          u32: { infinity: 0x7f800000, words: tokens.words },
          side: "read",
          reads: {
            marks: { buffer: tokens.marks, type: "u32" },
            scores: { buffer: scores, type: "f32" },
            counts: { buffer: counts, type: "u32" },
            recentOf: { buffer: table, type: "u32" },
          },
          writes: { out: { buffer: out, type: "f32" } },
        }),
      );
    }
  },
};
