import { groupSize, hostTensor, type KvBatch, KvCacheError, type Tensor } from "@kvcache/core";
import { type BatchRow, batchInputs, hostOf } from "./batch-rows.ts";
import { countBelow, positionOrder } from "./position-order.ts";
import { dotRows, softmaxInPlace } from "./row-math.ts";
import { gatherKeys, gatherPositions } from "./row-view.ts";

/** A row of the cache and what the last queries pay to it, tokens in position order. */
export interface ObservedRow {
  readonly row: BatchRow;
  /** Slot of the j-th token. */
  slotOf(j: number): number;
  /** Ascending, [length]. */
  readonly positions: Int32Array;
  readonly length: number;
  /** Tokens [0, eligible) stand before the window. */
  readonly eligible: number;
  /** Queries observed: min(window, valid entries of the ring). */
  readonly numQueries: number;
  /**
   * Softmaxed attention of one query head of the row's group, f64 [numQueries, length], oldest query
   * first; keys after a query get 0. The array is reused by the next call.
   */
  weightsOf(member: number): Float64Array;
  /** Its scaled logits, f64 [numQueries, length], of keys after a query too; in the same array. */
  logitsOf(member: number): Float64Array;
}

/**
 * Throws `invalid-argument` for a window that is no positive integer, `missing-signal` when the
 * cache did not record so many queries. `windowSize`: of a cache that lives on a device.
 */
export function checkWindow(
  batch: KvBatch,
  window: number,
  windowSize: number = hostOf(batch).windowSize,
): void {
  if (!(Number.isInteger(window) && window > 0))
    throw new KvCacheError(
      "invalid-argument",
      `window must be a positive integer, got ${window}.`,
      { value: window },
    );
  if (window > windowSize)
    throw new KvCacheError(
      "missing-signal",
      `The window observes ${window} queries, the cache keeps ${windowSize}.`,
      { value: window, remedy: `Create the cache with windowSize ≥ ${window}.` },
    );
  const silent = batch.windowLengths.findIndex((length) => length < 1);
  if (silent >= 0)
    throw new KvCacheError(
      "missing-signal",
      `No query of sequence ${batch.sequences[silent]} was recorded.`,
      { value: batch.sequences[silent], remedy: "Run a step with the windowQueries flag first." },
    );
}

/** What the last `window` queries, at most, see of a row; call {@link checkWindow} first. */
export function observeRow(batch: KvBatch, row: BatchRow, window: number): ObservedRow {
  const { headDim } = batch.shape;
  const next = batch.nextPositions[row.sequenceIndex]!;
  const numQueries = Math.min(window, batch.windowLengths[row.sequenceIndex]!);
  const unordered = gatherPositions(row.view);
  const order = positionOrder(unordered);
  const positions = order ? unordered.map((_, j) => unordered[order[j]!]!) : unordered;
  const length = positions.length;
  const source = gatherKeys(row.view);
  const keys = { data: new Float64Array(length * headDim), stride: headDim };
  for (let j = 0; j < length; j++) {
    const from = (order ? order[j]! : j) * headDim;
    for (let c = 0; c < headDim; c++) keys.data[j * headDim + c] = source[from + c]!;
  }
  const out = { data: new Float64Array(numQueries * length), stride: length };
  const scale = logitScale(batch);
  const logitsOf = (member: number): Float64Array => {
    const queries = { data: headQueries(batch, row, member, numQueries), stride: headDim };
    dotRows(queries, numQueries, keys, length, headDim, out);
    for (let at = 0; at < out.data.length; at++) out.data[at] = out.data[at]! * scale;
    return out.data;
  };
  return {
    row,
    slotOf: (j) => (order ? order[j]! : j),
    positions,
    length,
    eligible: countBelow(positions, next - numQueries),
    numQueries,
    logitsOf,
    weightsOf(member) {
      logitsOf(member);
      for (let i = 0; i < numQueries; i++) {
        const at = i * length;
        const visible = countBelow(positions, next - numQueries + i + 1);
        softmaxInPlace(out.data, at, visible);
        out.data.fill(0, at + visible, at + length);
      }
      return out.data;
    },
  };
}

/** Last queries of one query head of a row, from the ring, oldest first: [numQueries, headDim]. */
function headQueries(batch: KvBatch, row: BatchRow, member: number, numQueries: number) {
  const { numLayers, numQueryHeads, headDim } = batch.shape;
  const { windowQueries, windowSize } = hostOf(batch);
  const head = row.head * groupSize(batch.shape) + member;
  const next = batch.nextPositions[row.sequenceIndex]!;
  const out = new Float64Array(numQueries * headDim);
  for (let i = 0; i < numQueries; i++) {
    const ring =
      (row.sequence * numLayers + row.layer) * windowSize + ((next - numQueries + i) % windowSize);
    const from = (ring * numQueryHeads + head) * headDim;
    for (let c = 0; c < headDim; c++) out[i * headDim + c] = windowQueries[from + c]!;
  }
  return out;
}

/** What every native call over a window of queries starts with. */
export const windowInputs = (batch: KvBatch): readonly Tensor[] => [
  ...batchInputs(batch),
  hostTensor(Int32Array.from(batch.nextPositions)),
  hostTensor(Int32Array.from(batch.windowLengths)),
];

/** Factor on the logits that native calls over a window are given. */
export const logitScale = (batch: KvBatch): number => 1 / Math.sqrt(batch.shape.headDim);
