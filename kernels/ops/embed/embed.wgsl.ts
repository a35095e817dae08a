import type { WgslBuffer, WgslDispatch } from "@kvcache/core";
import { type QuadDtype, quadCode, quadType } from "../../src/quads.ts";
import { forEachCode, workgroupsFor } from "../../src/wgsl-thread.ts";

const codeOf = (dtype: QuadDtype) =>
  quadCode(dtype) +
  forEachCode(/* wgsl */ `
  let row = u32(ids[params.idsAt + i / params.quads]) - params.firstRow;
  if (row >= params.numRows) { return; }
  out[i] = toQuad(weight[row * params.quads + i % params.quads]) * params.scale;
`);
const codes = { f32: codeOf("f32"), f16: codeOf("f16") };

export interface EmbedWgslParams {
  /** Rows [firstRow, firstRow + numRows) of the table, [numRows, width]. */
  readonly weight: WgslBuffer;
  readonly dtype: QuadDtype;
  readonly firstRow: number;
  readonly numRows: number;
  /** A multiple of 4. */
  readonly width: number;
  readonly scale: number;
  /** i32: `numTokens` ids from `idsAt` on. */
  readonly ids: WgslBuffer;
  readonly idsAt: number;
  readonly numTokens: number;
  /** f32 [numTokens, width]; tokens of other parts of the table stay as they are. */
  readonly out: WgslBuffer;
}

/** Rows of a table at token ids, times `scale`. */
export const embedWgsl = (params: EmbedWgslParams): WgslDispatch => {
  const quads = params.width / 4;
  const { dtype, firstRow, numRows, idsAt, scale } = params;
  return {
    name: "embed",
    code: codes[dtype],
    u32: { count: params.numTokens * quads, quads, firstRow, numRows, idsAt },
    f32: { scale },
    reads: {
      weight: { buffer: params.weight, type: quadType(dtype) },
      ids: { buffer: params.ids, type: "i32" },
    },
    writes: { out: { buffer: params.out, type: "vec4f" } },
    workgroups: workgroupsFor(params.numTokens * quads),
  };
};
