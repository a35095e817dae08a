import {
  type BudgetTarget,
  type Encoder,
  hostArray,
  hostTensor,
  type KvBatch,
  type Protect,
  type Tensor,
} from "@kvcache/core";
import { blocksToEvict, createHostEncoder, gatherPositions, protectScores } from "@kvcache/kernels";
import { topK } from "@kvcache/selectors";
import { failed, floats, integers, skipped, type VectorCase, type Verdict } from "./case.ts";
import { compareIntegers, first } from "./compare.ts";
import { blockScheduleOf } from "./methods/main-road.ts";
import { indptrOfLists, type RaggedCache, raggedCache } from "./ragged-cache.ts";

/** Block-wise eviction of ragged rows from given metrics, down to the moves and what they leave. */
export async function runSchedule(vector: VectorCase): Promise<Verdict> {
  if (vector.method !== "kv-compress") return skipped(`no schedule for method ${vector.method}`);
  const { blockSize, lastPosition, sequenceLength } = vector.params as Record<string, number>;
  if (sequenceLength !== lastPosition! + 1)
    return skipped("sequenceLength is not lastPosition + 1");
  const lengths = integers(vector, "lengths");
  if (lengths === undefined) return failed("the case gives no lengths");
  const ragged = await raggedCache(vector, lengths, blockSize!);
  const { cache, sequence } = ragged;

  // The token at lastPosition is protected with the others, cached or not.
  const { sinks, recent } = vector.params.protect as Protect;
  const protect = { sinks, recent: Math.max(0, recent - 1) };
  const batch: KvBatch = {
    ...cache.batch([sequence], { protect, phase: "decode" }),
    nextPositions: [lastPosition!],
  };
  const encoder = createHostEncoder();
  const scores = metricsOf(vector, lengths);
  encoder.run(protectScores, { batch, scores });
  const target = vector.params.target as BudgetTarget & { blocks?: number };
  const keep = selectBlocks(vector, encoder, batch, target, scores);
  const requested =
    target.blocks ??
    blocksToEvict({
      target,
      lengths,
      nextPosition: lastPosition!,
      blockSize: blockSize!,
      protectedWindow: recent,
      layout: cache.layout,
    });
  const decided = describe(lengths, blockSize!, keep);
  const results: Record<string, ArrayLike<number>> = {
    requestedBlocks: [requested],
    ...decided,
    ...(await compacted(ragged, encoder, keep)),
  };
  cache.dispose();
  const unknown = vector.expect.find((name) => !(name in results));
  if (unknown) return skipped(`no result named ${unknown}`);
  return first(...vector.expect.map((name) => compareIntegers(vector, name, results[name]!)));
}

/** Metrics [L, H, slots] without the padding behind each row. */
function metricsOf(vector: VectorCase, lengths: Int32Array) {
  const metrics = floats(vector, "metrics", 0);
  const slots = metrics.length / lengths.length;
  const rows = Array.from(lengths, (length, row) =>
    Array.from(metrics.subarray(row * slots, row * slots + length)),
  );
  return hostTensor(Float32Array.from(rows.flat()));
}

function selectBlocks(
  vector: VectorCase,
  encoder: Encoder,
  batch: KvBatch,
  target: BudgetTarget,
  scores: Tensor,
) {
  const counts = encoder.tensor("u32", batch.numRows);
  blockScheduleOf(vector.params).allocate(encoder, { batch, target, scores }, counts);
  return topK({ ties: "higher-slot" }).select(encoder, batch, scores, counts);
}

/** What a keep set says, under the names of the vectors. */
function describe(
  lengths: Int32Array,
  blockSize: number,
  keep: { readonly indptr: Tensor; readonly indices: Tensor },
) {
  const indptr = hostArray(keep.indptr, "u32");
  const indices = hostArray(keep.indices, "u32");
  const kept = Array.from(lengths, (_, row) =>
    Array.from(indices.subarray(indptr[row]!, indptr[row + 1]!)),
  );
  const evicted = kept.map((own, row) => {
    const stay = new Set(own);
    const all = Array.from({ length: lengths[row]! }, (_, slot) => slot);
    return all.filter((slot) => !stay.has(slot));
  });
  const blocks = (tokens: number) => Math.ceil(tokens / blockSize);
  const freed = kept.map((own, row) =>
    Array.from(
      { length: blocks(lengths[row]!) - blocks(own.length) },
      (_, i) => blocks(own.length) + i,
    ),
  );
  return {
    freedCounts: freed.map((own) => own.length),
    freedIndptr: indptrOfLists(freed),
    freedIndices: freed.flat(),
    evictedIndptr: indptrOfLists(evicted),
    evictedIndices: evicted.flat(),
    indptr: indptrOfLists(kept),
    indices: kept.flat(),
    lengthsAfter: kept.map((own) => own.length),
  };
}

/** Compacts for real, and tells the moves and where every original position stands afterwards. */
async function compacted(
  { cache, sequence, lengths, rowOf, movesByRow }: RaggedCache,
  encoder: Encoder,
  keep: { readonly indptr: Tensor; readonly indices: Tensor },
) {
  const batch = cache.batch([sequence], { protect: { sinks: 0, recent: 0 }, phase: "decode" });
  const moves = movesByRow();
  await cache.compact(encoder, batch, keep);
  const moved = moves();
  const positions = Array.from(lengths, (_, row) => Array.from(gatherPositions(rowOf(row))));
  return {
    movesIndptr: indptrOfLists(moved, 2),
    moves: moved.flat(),
    positionsIndptr: indptrOfLists(positions),
    positionsAfter: positions.flat(),
  };
}
