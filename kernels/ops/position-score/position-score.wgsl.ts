import type { WgslKernel } from "@kvcache/core";
import { slotDispatch } from "../../src/arena-rows.wgsl.ts";
import type { PositionScoreParams } from "./position-score.ts";

export const positionScoreWgsl: WgslKernel<PositionScoreParams> = {
  record({ batch, out }, recorder) {
    const own = recorder.batch(batch);
    for (const arena of own.arenas)
      recorder.dispatch(
        slotDispatch(own, arena, {
          name: "position-score",
          body: "scores[row.begin + j] = f32(bitcast<i32>(side[slotOf(row, j)]));",
          side: "read",
          reads: {},
          writes: { scores: { buffer: out, type: "f32" } },
        }),
      );
  },
};
