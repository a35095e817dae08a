import type { WgslKernel } from "@kvcache/core";
import { slotDispatch } from "../../src/arena-rows.wgsl.ts";
import type { KeyNormParams } from "./key-norm.ts";

const body = /* wgsl */ `
  let at = keyOf(slotOf(row, j));
  var squares = 0.0;
  for (var c = 0u; c < quads; c++) {
    let key = toQuad(blocks[at + c]);
    squares += dot(key, key);
  }
  scores[row.begin + j] = -sqrt(squares);
`;

export const keyNormWgsl: WgslKernel<KeyNormParams> = {
  record({ batch, out }, recorder) {
    const own = recorder.batch(batch);
    for (const arena of own.arenas)
      recorder.dispatch(
        slotDispatch(own, arena, {
          name: "key-norm",
          body,
          side: "none",
          blocks: true,
          reads: {},
          writes: { scores: { buffer: out, type: "f32" } },
        }),
      );
  },
};
