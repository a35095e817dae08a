import {
  defineKernel,
  groupSize,
  hostArray,
  type KvBatch,
  KvCacheError,
  type Scorer,
  type Signal,
  type Tensor,
} from "@kvcache/core";
import {
  type BatchRow,
  forEachRow,
  gatherKeys,
  gatherPositions,
  gatherValues,
} from "@kvcache/kernels";

/** One row (KV head of a layer of a sequence) as a plain function sees it, in slot order. */
export interface ScorerRow {
  readonly layer: number;
  readonly head: number;
  /** Cached tokens. */
  readonly length: number;
  readonly headDim: number;
  /** f32 [length, headDim], after RoPE. */
  readonly keys: Float32Array;
  /** f32 [length, headDim]. */
  readonly values: Float32Array;
  /** True positions, [length]. */
  readonly positions: Int32Array;
  /** Position that the next token gets. */
  readonly nextPosition: number;
  /**
   * Last queries of the row's query heads, oldest first, f32 [numQueries, groupSize, headDim], after
   * RoPE; query i stands at position nextPosition − numQueries + i. Empty unless asked for.
   */
  readonly queries: Float32Array;
  readonly numQueries: number;
}

/** Scores of one row, [length]: higher = keep. */
export type ScoreRow = (row: ScorerRow) => ArrayLike<number>;

/**
 * Lifts a plain function over one row to a scorer. It runs wherever the cache lives in host memory.
 * `needs` names the signals it reads; a `windowQueries` signal fills `row.queries`. The name stands
 * for the function wherever results are reused: give another function another name. While scoring,
 * throws `invalid-argument` when the function returns another number of scores, or one that is NaN.
 */
export function scorerFrom(name: string, needs: readonly Signal[], scoreRow: ScoreRow): Scorer {
  const window = Math.max(
    0,
    ...needs.map((signal) => (signal.kind === "windowQueries" ? signal.window : 0)),
  );
  const kernel = defineKernel<{ readonly batch: KvBatch; readonly out: Tensor }>({
    name: `score-row:${name}`,
    reference({ batch, out }) {
      const scores = hostArray(out, "f32");
      forEachRow(batch, (row) => {
        if (row.end === row.begin) return;
        scores.set(checked(name, scoreRow(viewOf(batch, row, window)), row), row.begin);
      });
    },
  });
  return Object.freeze<Scorer>({
    name,
    needs,
    score: (encoder, batch, out) => encoder.run(kernel, { batch, out }),
  });
}

/** Keys, values and queries are copied only when the function looks at them. */
function viewOf(batch: KvBatch, row: BatchRow, window: number): ScorerRow {
  const { view, layer, head, sequenceIndex } = row;
  const numQueries = Math.min(window, batch.windowLengths[sequenceIndex]!);
  const once = <T>(make: () => T) => {
    let made: T | undefined;
    return () => (made ??= make());
  };
  const keys = once(() => gatherKeys(view));
  const values = once(() => gatherValues(view));
  const positions = once(() => gatherPositions(view));
  const queries = once(() => lastQueries(batch, row, numQueries));
  return {
    layer,
    head,
    length: view.length,
    headDim: batch.shape.headDim,
    nextPosition: batch.nextPositions[sequenceIndex]!,
    numQueries,
    get keys() {
      return keys();
    },
    get values() {
      return values();
    },
    get positions() {
      return positions();
    },
    get queries() {
      return queries();
    },
  };
}

/** Copies a row's share of the ring of last queries, oldest first. */
function lastQueries(batch: KvBatch, row: BatchRow, numQueries: number): Float32Array {
  const { numLayers, numQueryHeads, headDim } = batch.shape;
  const host = batch.host!;
  const width = groupSize(batch.shape) * headDim;
  const out = new Float32Array(numQueries * width);
  const nextPosition = batch.nextPositions[row.sequenceIndex]!;
  for (let i = 0; i < numQueries; i++) {
    const ringRow = (nextPosition - numQueries + i) % host.windowSize;
    const ring = (row.sequence * numLayers + row.layer) * host.windowSize + ringRow;
    const from = ring * numQueryHeads * headDim + row.head * width;
    out.set(host.windowQueries.subarray(from, from + width), i * width);
  }
  return out;
}

function checked(name: string, scores: ArrayLike<number>, row: BatchRow): ArrayLike<number> {
  const length = row.end - row.begin;
  const where = `layer ${row.layer}, head ${row.head}`;
  if (scores.length !== length)
    throw new KvCacheError(
      "invalid-argument",
      `Scorer ${name} returned ${scores.length} scores for ${length} tokens (${where}).`,
      { value: scores.length, remedy: "Return one number for every cached token of the row." },
    );
  for (let j = 0; j < length; j++)
    if (Number.isNaN(scores[j]))
      throw new KvCacheError(
        "invalid-argument",
        `Scorer ${name} gave token ${j} a score that is not a number (${where}).`,
        { value: scores[j], remedy: "Look for 0 / 0 in it." },
      );
  return scores;
}
