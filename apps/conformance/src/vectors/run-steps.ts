import {
  type Backend,
  type BudgetTarget,
  type CompressionPhase,
  type EvictionPolicy,
  hostArray,
  hostTensor,
  signalsOf,
} from "@kvcache/core";
import { recordCompression } from "@kvcache/engine";
import { batchPositions, createHostEncoder } from "@kvcache/kernels";
import { writeEntries } from "@kvcache/paged";
import { rowPositions } from "../row-positions.ts";
import { floats, type VectorCase } from "./case.ts";
import { sessionOver } from "./session-over.ts";
import { modelOf, observationOf } from "./vector-batch.ts";
import { filledCache, shapeOf, writeQuery } from "./vector-cache.ts";

export interface StepsOptions {
  readonly policy: EvictionPolicy;
  readonly target: BudgetTarget;
  /** Tokens of the first pass; every later token is a pass of its own. */
  readonly prefill: number;
  /** Whether an event follows a pass; step 0 is the first. */
  readonly isDue: (step: number) => boolean;
}

export interface StepsResult {
  /** Steps after which the cache was shorter than the step had made it. */
  readonly events: readonly number[];
  /** Positions that are left in each row, ascending. */
  readonly rows: readonly Int32Array[];
  /** What the scorer said of every token when it first saw it, [rows × tokens]. */
  readonly scores: Float32Array;
}

/** Feeds a case's tokens pass by pass and compresses where the case says so. */
export async function runSteps(
  vector: VectorCase,
  backend: Backend,
  { policy, target, prefill, isDue }: StepsOptions,
): Promise<StepsResult> {
  const window = signalsOf(policy).reduce(
    (most, signal) => (signal.kind === "windowQueries" ? Math.max(most, signal.window) : most),
    0,
  );
  const { cache, sequence } = filledCache(vector, window);
  cache.truncate(sequence, prefill);
  const { tokens } = vector.shape;
  const shape = shapeOf(vector);
  const numRows = shape.numLayers * shape.numKvHeads;
  const keys = floats(vector, "keys", numRows * tokens * shape.headDim);
  const scores = new Float32Array(numRows * tokens).fill(Number.NaN);
  const events: number[] = [];
  const observer = policy.scorer.createObserver?.(cache.layout);
  const model = modelOf(vector);

  const append = (position: number) => {
    cache.append(sequence, 1);
    for (let row = 0; row < numRows; row++) {
      const from = (row * tokens + position) * shape.headDim;
      const [layer, head] = [Math.floor(row / shape.numKvHeads), row % shape.numKvHeads];
      writeEntries(cache, sequence, layer, head, keys.slice(from, from + shape.headDim));
    }
    const queries = vector.tensors.get("queries");
    if (!queries || window === 0) return;
    const given = queries.shape[2]!;
    for (let layer = 0; layer < shape.numLayers; layer++)
      for (let head = 0; head < shape.numQueryHeads; head++) {
        const row = (layer * shape.numQueryHeads + head) * given + given - tokens + position;
        const query = floats(vector, "queries", 0).slice(
          row * shape.headDim,
          (row + 1) * shape.headDim,
        );
        writeQuery(cache, layer, head, position, query);
      }
  };

  try {
    for (let step = 0; step <= tokens - prefill; step++) {
      const phase: CompressionPhase = step === 0 ? "prefill" : "decode";
      if (step > 0) append(prefill + step - 1);
      const options = { protect: policy.protect, phase, model, observers: [observer] };
      const batch = { ...cache.batch([sequence], options), windowLengths: [window] };
      const start = step === 0 ? 0 : prefill + step - 1;
      const tokenIds = new Int32Array(step === 0 ? prefill : 1);
      const observing = createHostEncoder();
      observer?.observe?.(observing, observationOf(vector, "", start, tokenIds), batch);
      await observing.submit();
      if (!isDue(step)) continue;
      const over = await sessionOver(backend, cache, sequence);
      const encoder = over.session.encoder();
      const there = over.on(batch);
      const raw = encoder.tensor("f32", batch.totalSlots);
      policy.scorer.score(encoder, there, raw, target);
      const { keep } = recordCompression(encoder, there, policy, target);
      const said = await encoder.read(raw);
      const positions = batchPositions(batch);
      const indptr = hostArray(batch.rowIndptr, "u32");
      for (let row = 0; row < numRows; row++)
        for (let slot = indptr[row]!; slot < indptr[row + 1]!; slot++) {
          const at = row * tokens + positions[slot]!;
          if (Number.isNaN(scores[at])) scores[at] = said[slot]!;
        }
      const keptIndptr = await encoder.read(keep.indptr);
      const kept = keptIndptr[numRows]!;
      const indices = hostTensor(await encoder.read(keep.indices));
      await over.dispose();
      if (kept < batch.totalSlots) events.push(step);
      await cache.compact(createHostEncoder(), batch, { indptr: hostTensor(keptIndptr), indices });
    }
    return { events, scores, rows: (await rowPositions(cache, sequence)).map((row) => row.sort()) };
  } finally {
    cache.dispose();
  }
}
