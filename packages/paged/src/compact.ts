import {
  type CompactOptions,
  type Encoder,
  hostArray,
  type KeepSet,
  type KvBatch,
  KvCacheError,
  lengthsOf,
} from "@kvcache/core";
import { type CacheState, checkSequence } from "./cache-state.ts";
import { abandonPlan, commitPlan, planCompaction } from "./compaction-plan.ts";
import type { MoveKernel } from "./move-slots.ts";

export interface CompactionOptions extends CompactOptions {
  /** Executes the moves; the cache's memory does when absent. */
  readonly kernel: MoveKernel | undefined;
}

/** Keeps `keep` of the batch's rows. */
export async function compact(
  state: CacheState,
  encoder: Encoder,
  batch: KvBatch,
  keep: KeepSet,
  { kernel, unshare = false }: CompactionOptions,
): Promise<void> {
  const rows = rowsOf(state, batch);
  const indptr = hostArray(keep.indptr, "u32");
  const indices = hostArray(keep.indices, "u32");
  const kept = indptr[rows.length];
  if (indptr.length !== rows.length + 1 || !(kept! <= indices.length))
    throw new KvCacheError(
      "invalid-argument",
      `The keep set does not fit a batch of ${rows.length} rows.`,
      { value: { indptr: indptr.length, indices: indices.length } },
    );
  const plan = planCompaction(state, batch.sequences, { rows, indptr, indices }, unshare);
  const { arenas } = state.host;
  try {
    if (kernel === undefined) plan.moves.forEach((m, i) => void state.memory.move(i, m.view()));
    else {
      plan.moves.forEach((moves, arenaIndex) => {
        if (moves.length === 0) return;
        encoder.run(kernel, {
          cache: state.host,
          arena: arenas[arenaIndex]!,
          arenaIndex,
          moves: encoder.upload(moves.view().slice()),
        });
      });
      await encoder.submit();
    }
  } catch (error) {
    abandonPlan(state, plan);
    throw error;
  }
  const shortened = plan.lengths.view();
  for (let i = 0; i < shortened.length; i += 2)
    state.isCompressed[Math.floor(shortened[i]! / state.numRows)] = 1;
  commitPlan(state, plan);
}

/** Rows of the batch in the tables of the cache. Throws unless it shows the cache as it is now. */
function rowsOf(state: CacheState, batch: KvBatch): Int32Array {
  const { host, numRows } = state;
  const { layerMap, shape } = host.layout;
  const fail = (message: string, value: unknown): never => {
    throw new KvCacheError("invalid-argument", message, {
      value,
      remedy: "Compact a batch that this cache's batch() made after its last change.",
    });
  };
  if (batch.host !== host) fail("The batch belongs to another cache.", batch.host);
  if (new Set(batch.sequences).size !== batch.sequences.length)
    fail("A sequence stands twice in the batch.", batch.sequences);
  const rows: number[] = [];
  for (const sequence of batch.sequences) {
    checkSequence(state, sequence);
    for (const layer of batch.layers) {
      if (layerMap[layer] !== layer) fail(`Layer ${layer} has no blocks of its own.`, layer);
      for (let head = 0; head < shape.numKvHeads; head++)
        rows.push(sequence * numRows + layer * shape.numKvHeads + head);
    }
  }
  const lengths = lengthsOf(hostArray(batch.rowIndptr, "u32"));
  if (lengths.length !== rows.length || rows.some((row, i) => host.lengths[row] !== lengths[i]))
    fail("The batch is older than the cache's last change.", lengths.length);
  return Int32Array.from(rows);
}
