import {
  cacheLayout,
  type HostTensor,
  hostTensor,
  indptrOf,
  type KvBatch,
  type Protect,
} from "@kvcache/core";
import { randomInteger, randomNumbers } from "./random.ts";

export interface ScoreTable {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots]; the first min(sinks + recent, length) slots of each row are +∞. */
  readonly scores: HostTensor;
  /** [batch.numRows]. */
  readonly lengths: Uint32Array;
}

export interface ScoreTableShape {
  readonly seed: number;
  readonly sequences: number;
  readonly layers: number;
  readonly heads: number;
  readonly maxLength: number;
  readonly protect: Protect;
  /** Distinct values that scores take: few make ties. */
  readonly levels: number;
}

/** Random scores of ragged rows, with no cache behind them. */
export function scoreTable(shape: ScoreTableShape): ScoreTable {
  const random = randomNumbers(shape.seed);
  const { sequences, layers, heads, protect } = shape;
  const numRows = sequences * layers * heads;
  const lengths = Uint32Array.from({ length: numRows }, () =>
    randomInteger(random, 1, shape.maxLength),
  );
  const rowIndptr = indptrOf(lengths);
  const scores = Float32Array.from(
    { length: rowIndptr[numRows]! },
    () => Math.floor(random() * shape.levels) / shape.levels,
  );
  for (let row = 0; row < numRows; row++) {
    const kept = Math.min(lengths[row]!, protect.sinks + protect.recent);
    scores.fill(Number.POSITIVE_INFINITY, rowIndptr[row]!, rowIndptr[row]! + kept);
  }
  const kvShape = { numLayers: layers, numQueryHeads: heads, numKvHeads: heads, headDim: 4 };
  const batch: KvBatch = {
    shape: kvShape,
    layout: cacheLayout(kvShape, { blockSize: 4 }),
    sequences: Array.from({ length: sequences }, (_, index) => index),
    layers: Array.from({ length: layers }, (_, layer) => layer),
    numRows,
    rowIndptr: hostTensor(rowIndptr),
    totalSlots: scores.length,
    nextPositions: Array.from({ length: sequences }, () => shape.maxLength),
    windowLengths: Array.from({ length: sequences }, () => 0),
    protect,
    phase: "prefill",
    host: undefined,
  };
  return { batch, scores: hostTensor(scores), lengths };
}
