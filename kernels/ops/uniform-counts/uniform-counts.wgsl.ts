import { type KvBatch, targetTokens, type WgslKernel } from "@kvcache/core";
import { rowLimitsWgsl } from "./row-limits.wgsl.ts";
import type { UniformCountsParams } from "./uniform-counts.ts";

/** Tokens that a target stands for in each row, one at least: [numRows]. */
export function tokensOfRows(
  batch: KvBatch,
  target: UniformCountsParams["target"],
): readonly number[] {
  const rows = batch.layers.length * batch.shape.numKvHeads;
  return batch.nextPositions.flatMap((next) =>
    new Array<number>(rows).fill(Math.max(1, targetTokens(target, next, batch.layout))),
  );
}

export const uniformCountsWgsl: WgslKernel<UniformCountsParams> = {
  record({ batch, target, scores, keepProtected, skipLayers = [], counts }, recorder) {
    const heads = batch.shape.numKvHeads;
    const limits = Uint32Array.from(tokensOfRows(batch, target), (tokens, row) => {
      const layer = batch.layers[Math.floor(row / heads) % batch.layers.length]!;
      return skipLayers.includes(layer) ? 0xffffffff : Math.min(tokens, 0xffffffff);
    });
    recorder.dispatch(
      rowLimitsWgsl({ rowIndptr: batch.rowIndptr, scores, keepProtected, limits, counts }),
    );
  },
};
