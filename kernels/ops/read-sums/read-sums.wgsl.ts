import type { WgslKernel } from "@kvcache/core";
import { slotDispatch } from "../../src/arena-rows.wgsl.ts";
import type { ReadSumsParams } from "./read-sums.ts";

export const readSumsWgsl: WgslKernel<ReadSumsParams> = {
  record({ batch, power, scale = 1, out }, recorder) {
    const own = recorder.batch(batch);
    for (const arena of own.arenas)
      recorder.dispatch(
        slotDispatch(own, arena, {
          name: "read-sums",
          body: "scores[row.begin + j] = bitcast<f32>(side[params.sumsAt + slotOf(row, j)]) * params.scale;",
          u32: { sumsAt: power * arena.numSlots },
          f32: { scale },
          side: "read",
          reads: {},
          writes: { scores: { buffer: out, type: "f32" } },
        }),
      );
  },
};
