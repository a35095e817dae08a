import type { WgslKernel } from "@kvcache/core";
import { slotDispatch } from "../../src/arena-rows.wgsl.ts";
import type { AddSumsParams } from "./add-sums.ts";

const body = /* wgsl */ `
  let at = params.sumsAt + slotOf(row, j);
  side[at] = bitcast<u32>(bitcast<f32>(side[at]) + amounts[row.begin + j]);
`;

export const addSumsWgsl: WgslKernel<AddSumsParams> = {
  record({ batch, power, values }, recorder) {
    const own = recorder.batch(batch);
    for (const arena of own.arenas)
      recorder.dispatch(
        slotDispatch(own, arena, {
          name: "add-sums",
          body,
          u32: { sumsAt: power * arena.numSlots },
          side: "write",
          reads: { amounts: { buffer: values, type: "f32" } },
          writes: {},
        }),
      );
  },
};
