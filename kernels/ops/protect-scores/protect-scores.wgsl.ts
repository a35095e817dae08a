import { hostTensor, type WgslKernel } from "@kvcache/core";
import { slotDispatch } from "../../src/arena-rows.wgsl.ts";
import type { ProtectScoresParams } from "./protect-scores.ts";

// WGSL has no literal for infinity, and a constant expression may not give it.
const body = /* wgsl */ `
  let position = bitcast<i32>(side[slotOf(row, j)]);
  if (position < params.sinks || position >= recentFrom[row.sequence]) {
    scores[row.begin + j] = bitcast<f32>(params.infinity);
  }
`;

export const protectScoresWgsl: WgslKernel<ProtectScoresParams> = {
  record({ batch, scores, protect = batch.protect }, recorder) {
    const own = recorder.batch(batch);
    const recentFrom = hostTensor(
      Int32Array.from(batch.nextPositions, (next) => next - protect.recent),
    );
    for (const arena of own.arenas)
      recorder.dispatch(
        slotDispatch(own, arena, {
          name: "protect-scores",
          body,
          u32: { infinity: 0x7f800000 },
          i32: { sinks: protect.sinks },
          side: "read",
          reads: { recentFrom: { buffer: recentFrom, type: "i32" } },
          writes: { scores: { buffer: scores, type: "f32" } },
        }),
      );
  },
};
