import type { WgslBuffer, WgslDispatch } from "@kvcache/core";
import { forEachCode, workgroupsFor } from "../../src/wgsl-thread.ts";

const code = forEachCode(/* wgsl */ `
  let row = u32(indices[params.indicesAt + i / params.width]);
  out[i] = rows[row * params.width + i % params.width];
`);

export interface GatherWgslParams {
  /** f32 [numRows, width]. */
  readonly rows: WgslBuffer;
  readonly width: number;
  /** i32: `numIndices` of them from `indicesAt` on; each must name a row. */
  readonly indices: WgslBuffer;
  readonly indicesAt: number;
  readonly numIndices: number;
  /** f32 [numIndices, width]. */
  readonly out: WgslBuffer;
}

/** Rows of a matrix. */
export const gatherWgsl = (params: GatherWgslParams): WgslDispatch => {
  const { width, indicesAt, numIndices } = params;
  return {
    name: "gather",
    code,
    u32: { count: numIndices * width, width, indicesAt },
    reads: {
      rows: { buffer: params.rows, type: "f32" },
      indices: { buffer: params.indices, type: "i32" },
    },
    writes: { out: { buffer: params.out, type: "f32" } },
    workgroups: workgroupsFor(numIndices * width),
  };
};
