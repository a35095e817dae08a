import type { WgslBuffer, WgslDispatch } from "@kvcache/core";
import { gemmCode, gemmTile } from "./gemm.wgsl.ts";
import { gemvCode, gemvLanes, gemvThreads, gemvWidth } from "./gemv.wgsl.ts";
import {
  chunksPerRow,
  type StoredMatrix,
  weightChunks,
  weightReads,
} from "./weight-chunks.wgsl.ts";

/** Tokens up to which weights are read row by row, for 8 tokens at a time. */
const mostGemvTokens = 16;

export interface LinearWgslParams extends StoredMatrix {
  /** f32 [numTokens, inFeatures]. */
  readonly input: WgslBuffer;
  /** The matrix holds rows [firstRow, firstRow + numRows) of [outFeatures, inFeatures]. */
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
  /** Sums by subgroups where the device has them: tier T1. */
  readonly subgroups?: boolean;
}

/** input × weightᵀ + bias: row by row for few tokens, tile by tile for many. */
export function linearWgsl(params: LinearWgslParams): WgslDispatch {
  const { dtype, numTokens, inFeatures, outFeatures, firstRow, numRows, bias } = params;
  const { subgroups = false } = params;
  const few = numTokens <= mostGemvTokens;
  const chunks = weightChunks(dtype, inFeatures);
  const perRow = chunksPerRow(chunks, inFeatures);
  const lanes = gemvLanes(perRow);
  const width = gemvWidth(numTokens);
  const rows = width === 1 ? 2 : 4;
  const ragged = perRow * chunks.quads * 4 !== inFeatures;
  const tokenTiles = Math.ceil(numTokens / width);
  const bySubgroups = few && subgroups && lanes === gemvThreads;
  const tiles = (count: number) => Math.ceil(count / gemmTile);
  return {
    name: few ? "linear (gemv)" : "linear (gemm)",
    ...(bySubgroups && { enables: ["subgroups"] }),
    code: few
      ? gemvCode(chunks, {
          width,
          rows,
          lanes,
          hasBias: bias !== undefined,
          ragged,
          subgroups: bySubgroups,
        })
      : gemmCode(chunks, bias !== undefined),
    u32: {
      numTokens,
      quads: inFeatures / 4,
      chunks: perRow,
      firstRow,
      numRows,
      outFeatures,
      ...(few && { tokenTiles }),
    },
    reads: {
      input: { buffer: params.input, type: "vec4f" },
      ...weightReads(params, chunks),
      ...(bias && { bias: { buffer: bias, type: "f32" } }),
    },
    writes: { out: { buffer: params.out, type: "f32" } },
    workgroups: few
      ? Math.ceil(numRows / ((gemvThreads / lanes) * rows)) * tokenTiles
      : tiles(numTokens) * tiles(numRows),
  };
}
