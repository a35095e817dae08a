import type { WgslBuffer, WgslDispatch } from "@kvcache/core";
import { forEachCode, workgroupsFor } from "../../src/wgsl-thread.ts";

const code = forEachCode(/* wgsl */ `
  let e = i % params.headDim;
  let token = i / (params.headDim * params.numHeads);
  let half = params.half;
  if (e >= 2u * half) { out[i] = input[i]; return; }
  let at = token * half + e % half;
  let c = tables[params.cosAt + at];
  let s = tables[params.sinAt + at];
  if (e < half) { out[i] = input[i] * c - input[i + half] * s; }
  else { out[i] = input[i] * c + input[i - half] * s; }
`);

export interface RopeWgslParams {
  /** f32 [numTokens, numHeads × headDim]. */
  readonly input: WgslBuffer;
  readonly out: WgslBuffer;
  /** f32: cos [numTokens, half] from `cosAt` on, sin likewise. */
  readonly tables: WgslBuffer;
  readonly cosAt: number;
  readonly sinAt: number;
  readonly half: number;
  readonly numTokens: number;
  readonly numHeads: number;
  readonly headDim: number;
}

/** The kernel `rope` for values on a device. */
export const ropeWgsl = (params: RopeWgslParams): WgslDispatch => {
  const { input, out, tables, cosAt, sinAt, half, numTokens, numHeads, headDim } = params;
  const count = numTokens * numHeads * headDim;
  return {
    name: "rope",
    code,
    u32: { count, headDim, numHeads, half, cosAt, sinAt },
    reads: { input: { buffer: input, type: "f32" }, tables: { buffer: tables, type: "f32" } },
    writes: { out: { buffer: out, type: "f32" } },
    workgroups: workgroupsFor(count),
  };
};
