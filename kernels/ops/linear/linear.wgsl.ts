import type { WgslBuffer, WgslDispatch } from "@kvcache/core";
import { type QuadDtype, quadType } from "../../src/quads.ts";
import { gemmCode, gemmTile } from "./gemm.wgsl.ts";
import { gemvCode, gemvLanes, gemvThreads, mostGemvTokens } from "./gemv.wgsl.ts";

export interface LinearWgslParams {
  /** f32 [numTokens, inFeatures]. */
  readonly input: WgslBuffer;
  /** Rows [firstRow, firstRow + numRows) of the matrix [outFeatures, inFeatures]. */
  readonly weight: WgslBuffer;
  readonly dtype: QuadDtype;
  readonly firstRow: number;
  readonly numRows: number;
  /** f32 [outFeatures]. */
  readonly bias?: WgslBuffer | undefined;
  /** f32 [numTokens, outFeatures]; columns of other rows of the matrix stay as they are. */
  readonly out: WgslBuffer;
  readonly numTokens: number;
  /** A multiple of 4. */
  readonly inFeatures: number;
  readonly outFeatures: number;
}

/** input × weightᵀ + bias: row by row for few tokens, tile by tile for many. */
export function linearWgsl(params: LinearWgslParams): WgslDispatch {
  const { dtype, numTokens, inFeatures, outFeatures, firstRow, numRows, bias } = params;
  const few = numTokens <= mostGemvTokens;
  const quads = inFeatures / 4;
  const lanes = gemvLanes(quads);
  const tiles = (count: number) => Math.ceil(count / gemmTile);
  return {
    name: few ? "linear (gemv)" : "linear (gemm)",
    code: few
      ? gemvCode(dtype, numTokens, lanes, bias !== undefined)
      : gemmCode(dtype, bias !== undefined),
    u32: { numTokens, quads, firstRow, numRows, outFeatures },
    reads: {
      input: { buffer: params.input, type: "vec4f" },
      weight: { buffer: params.weight, type: quadType(dtype) },
      ...(bias && { bias: { buffer: bias, type: "f32" } }),
    },
    writes: { out: { buffer: params.out, type: "f32" } },
    workgroups: few
      ? Math.ceil((numRows * lanes) / gemvThreads)
      : tiles(numTokens) * tiles(numRows),
  };
}
