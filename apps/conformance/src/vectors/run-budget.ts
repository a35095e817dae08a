import { cacheLayout, hostTensor, indptrOf, type KvBatch, type KvShape } from "@kvcache/core";
import { createHostEncoder } from "@kvcache/kernels";
import { floats, skipped, type VectorCase, type Verdict } from "./case.ts";
import { compareIntegers } from "./compare.ts";
import { budgetOf } from "./methods/index.ts";

/** Counts of a budget over given scores, [L, H, n], +∞ where protected; zeros where it needs none. */
export async function runBudget(vector: VectorCase): Promise<Verdict> {
  const method = budgetOf(vector);
  if ("skip" in method) return skipped(method.skip);
  const { layers, kvHeads, tokens } = vector.shape;
  const lengths = new Uint32Array(layers * kvHeads).fill(tokens);
  const batch = batchWithoutCache(vector, lengths, method.protect);
  const encoder = createHostEncoder();
  const scores = hostTensor(floats(vector, "scores", batch.totalSlots));
  const counts = encoder.tensor("u32", batch.numRows);
  method.budget.allocate(encoder, { batch, target: method.target, scores }, counts);
  return compareIntegers(vector, "counts", await encoder.read(counts));
}

/** One sequence's rows of given lengths, without a cache behind them. */
function batchWithoutCache(
  { shape: { layers, queryHeads, kvHeads, headDim, tokens } }: VectorCase,
  lengths: Uint32Array,
  protect: KvBatch["protect"],
): KvBatch {
  const shape: KvShape = {
    numLayers: layers,
    numQueryHeads: queryHeads,
    numKvHeads: kvHeads,
    headDim: Math.max(1, headDim),
  };
  const rowIndptr = indptrOf(lengths);
  return {
    shape,
    layout: cacheLayout(shape),
    sequences: [0],
    layers: Array.from({ length: layers }, (_, layer) => layer),
    numRows: lengths.length,
    rowIndptr: hostTensor(rowIndptr),
    totalSlots: rowIndptr[lengths.length]!,
    nextPositions: [tokens],
    windowLengths: [0],
    protect,
    phase: "prefill",
    host: undefined,
  };
}
