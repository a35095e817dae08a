import {
  type BudgetTarget,
  type CacheLayout,
  defineKernel,
  hostArray,
  type KvBatch,
  type Observer,
  type Scorer,
  type Tensor,
} from "@kvcache/core";
import { batchPositions, scorePart } from "@kvcache/kernels";

/** Scores by row of the sequence and by position; NaN where none was given yet. */
type Memory = Map<number, Float32Array>;

interface ArrivalObserver extends Observer {
  readonly inner: Observer | undefined;
  readonly memory: Memory;
}

/**
 * Scores every token once: with the others that came since the event before, as if nothing else
 * were cached, and never again. It runs where the cache lives in host memory.
 */
export function onArrival(scorer: Scorer): Scorer {
  const innerView = (batch: KvBatch): KvBatch => ({
    ...batch,
    observers: batch.sequences.map(
      (_, i) => (batch.observers?.[i] as ArrivalObserver | undefined)?.inner,
    ),
  });
  const observerOf = (inner: Observer | undefined, memory: Memory): ArrivalObserver => ({
    inner,
    memory,
    observe: (encoder, observation, batch) =>
      inner?.observe?.(encoder, observation, innerView(batch)),
    replay: (encoder, pass, observation, batch) =>
      inner?.replay?.(encoder, pass, observation, innerView(batch)),
    truncate(position) {
      inner?.truncate(position);
      for (const scores of memory.values()) scores.fill(Number.NaN, position);
    },
    fork: () =>
      observerOf(inner?.fork(), new Map([...memory].map(([row, scores]) => [row, scores.slice()]))),
  });
  const kernel = defineKernel<{
    readonly batch: KvBatch;
    readonly out: Tensor;
    readonly target: BudgetTarget | undefined;
    /** Whether `out` holds the scores of all tokens already: none came before. */
    readonly isFirst: boolean;
  }>({
    name: `on-arrival:${scorer.name}`,
    reference({ batch, out, target, isFirst }) {
      const indptr = hostArray(batch.rowIndptr, "u32");
      const scores = hostArray(out, "f32");
      const rows = knownScores(batch);
      const fresh = rows.map(({ known, positions }) =>
        Array.from(positions.keys()).filter((slot) => Number.isNaN(known[positions[slot]!])),
      );
      const part = isFirst
        ? { indptr, scores }
        : scorePart(scorer, innerView(batch), fresh, target);
      rows.forEach(({ known, positions }, row) => {
        fresh[row]!.forEach((slot, j) => {
          known[positions[slot]!] = part.scores[part.indptr[row]! + j]!;
        });
        positions.forEach((position, slot) => {
          scores[indptr[row]! + slot] = known[position]!;
        });
      });
    },
  });
  return Object.freeze<Scorer>({
    ...scorer,
    name: "on-arrival",
    options: { scorer: [scorer.name, scorer.options ?? {}] },
    createObserver: (layout: CacheLayout) => observerOf(scorer.createObserver?.(layout), new Map()),
    score(encoder, batch, out, target) {
      const isFirst = batch.sequences.every((_, i) => !memoryOf(batch, i)?.size);
      if (isFirst) scorer.score(encoder, innerView(batch), out, target);
      encoder.run(kernel, { batch, out, target, isFirst });
    },
  });
}

const memoryOf = (batch: KvBatch, index: number): Memory | undefined =>
  (batch.observers?.[index] as ArrivalObserver | undefined)?.memory;

/** What is known of each row; nothing, and for this once, where nobody observes. */
function knownScores(batch: KvBatch) {
  const indptr = hostArray(batch.rowIndptr, "u32");
  const positions = batchPositions(batch);
  const memories = batch.sequences.map((_, i) => memoryOf(batch, i) ?? (new Map() as Memory));
  const heads = batch.shape.numKvHeads;
  return Array.from({ length: batch.numRows }, (_, row) => {
    const layers = Math.floor(row / heads);
    const sequence = Math.floor(layers / batch.layers.length);
    const name = batch.layers[layers % batch.layers.length]! * heads + (row % heads);
    return {
      known: room(memories[sequence]!, name, batch.nextPositions[sequence]!),
      positions: positions.subarray(indptr[row]!, indptr[row + 1]!),
    };
  });
}

/** A row's scores, with room for `length` positions. */
function room(memory: Memory, row: number, length: number): Float32Array {
  const known = memory.get(row);
  if (known && known.length >= length) return known;
  const larger = new Float32Array(Math.max(length, 2 * (known?.length ?? 0))).fill(Number.NaN);
  if (known) larger.set(known);
  memory.set(row, larger);
  return larger;
}
