import {
  type BudgetTarget,
  defineKernel,
  hostArray,
  hostTensor,
  type KvBatch,
  type Tensor,
} from "@kvcache/core";
import { blockScheduleWgsl } from "./block-schedule.wgsl.ts";
import { commonBlockSize, wantedBlocks } from "./blocks-to-evict.ts";

export interface BlockScheduleParams {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots]: what evicting a slot costs, +∞ where protected. */
  readonly scores: Tensor;
  /** Last tokens that are kept, the one about to be cached included. */
  readonly protectedWindow: number;
  /** Blocks each sequence gives back, in place of what its target asks for. */
  readonly evictBlocks: number | undefined;
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/**
 * Counts that free whole blocks: the cheapest blocks of each sequence go, over all its rows. Freeing
 * k blocks of a row takes its (k − 1) × blockSize + (tokens in its last block) cheapest slots; the
 * k-th block costs what the dearest of them costs. Ties go to the earlier row. Blocks that hold a
 * protected slot are never freed, and no row is emptied: fewer blocks may go than were asked for.
 */
export const blockSchedule = defineKernel<BlockScheduleParams>({
  name: "block-schedule",
  reference(params) {
    const { batch, scores, counts } = params;
    const indptr = hostArray(batch.rowIndptr, "u32");
    const scoreOf = hostArray(scores, "f32");
    const out = hostArray(counts, "u32");
    const blockSize = commonBlockSize(batch.layout);
    const rowsPerSequence = batch.layers.length * batch.shape.numKvHeads;
    wantedBlocks(params).forEach((wanted, sequence) => {
      const first = sequence * rowsPerSequence;
      const rowCosts = Array.from({ length: rowsPerSequence }, (_, row) =>
        blockCosts(scoreOf.slice(indptr[first + row]!, indptr[first + row + 1]!), blockSize),
      );
      cheapest(rowCosts, wanted).forEach((blocks, row) => {
        const length = indptr[first + row + 1]! - indptr[first + row]!;
        const evicted = blocks === 0 ? 0 : (blocks - 1) * blockSize + hanging(length, blockSize);
        out[first + row] = length - evicted;
      });
    });
  },
  native: (params) => {
    const { batch, scores, counts } = params;
    const rowsPerSequence = batch.layers.length * batch.shape.numKvHeads;
    return {
      inputs: [batch.rowIndptr, scores, hostTensor(wantedBlocks(params))],
      outputs: [counts],
      integers: [counts.length, rowsPerSequence, commonBlockSize(batch.layout)],
      floats: [],
    };
  },
  wgsl: blockScheduleWgsl,
});

/** Tokens in the last block of a row: 1 … blockSize. */
const hanging = (length: number, blockSize: number) => ((length - 1) % blockSize) + 1;

/** Finite costs of the first, second … block of a row, never falling; `row` is sorted in place. */
function blockCosts(row: Float32Array, blockSize: number): Float32Array {
  row.sort();
  const costs = new Float32Array(Math.max(0, Math.ceil(row.length / blockSize) - 1));
  const last = hanging(row.length, blockSize) - 1;
  for (let k = 0; k < costs.length; k++) costs[k] = row[k * blockSize + last]!;
  return costs.filter((cost) => cost < Number.POSITIVE_INFINITY);
}

/** How many of the `wanted` cheapest blocks belong to each row. */
function cheapest(rowCosts: readonly Float32Array[], wanted: number): Uint32Array {
  const blocks = rowCosts.flatMap((costs, row) => Array.from(costs, (cost) => ({ cost, row })));
  blocks.sort((a, b) => a.cost - b.cost || a.row - b.row);
  const counts = new Uint32Array(rowCosts.length);
  for (const { row } of blocks.slice(0, wanted)) counts[row]!++;
  return counts;
}
