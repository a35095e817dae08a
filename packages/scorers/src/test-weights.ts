import type { KvShape } from "@kvcache/core";
import { gaussianMatrix } from "./gaussian-matrix.ts";
import { type FileTensor, kvZapSurrogateOf, qFiltersOf, retentionGatesOf } from "./index.ts";

/** Random weights for tests, of the shape of a model. */
export function testWeights({ numLayers, numQueryHeads, numKvHeads, headDim }: KvShape) {
  const hiddenSize = numQueryHeads * headDim + 3;
  let seed = 0;
  const random = (...shape: number[]): FileTensor => ({
    shape,
    data: gaussianMatrix(
      seed++,
      shape.reduce((product, size) => product * size, 1),
      0.3,
    ),
  });
  const group = numQueryHeads / numKvHeads;
  return {
    filters: qFiltersOf(
      [numLayers, numKvHeads, headDim],
      random(numLayers, numKvHeads, headDim).data,
    ),
    surrogate(width?: number) {
      seed = 100;
      return kvZapSurrogateOf(
        Array.from({ length: numLayers }, () => ({
          weight1: random(width ?? numKvHeads, hiddenSize).data,
          bias1: random(width ?? numKvHeads).data,
          ...(width && { weight2: random(numKvHeads, width).data, bias2: random(numKvHeads).data }),
        })),
        hiddenSize,
      );
    },
    gates: retentionGatesOf(
      new Map([
        ["gateQueryWeight", random(numLayers, numQueryHeads * 4, hiddenSize)],
        ["gateQueryBias", random(numLayers, numQueryHeads * 4)],
        ["gateKeyWeight", random(numLayers, numKvHeads * 4, hiddenSize)],
        ["gateQueryNorm", random(numLayers, 4)],
        ["gateKeyNorm", random(numLayers, 4)],
        ["gateBase", random(numLayers, numKvHeads, 3, 4)],
        ["gateBias", random(numLayers, numKvHeads, group)],
      ]),
    ),
  };
}
