import {
  type BudgetTarget,
  defineKernel,
  groupSize,
  hostArray,
  type KvBatch,
  type Tensor,
  targetTokens,
} from "@kvcache/core";
import { type LayerRow, layersOfSequences } from "../../src/layers-of-sequence.ts";
import { roundHalfEven } from "../../src/whole-numbers.ts";
import { candidatesToEvict, type NormLoss, normLoss } from "./norm-loss.ts";

export interface HaltingCountsParams {
  readonly batch: KvBatch;
  /** Most tokens that a row keeps, where that is fewer than the metric asks for. */
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots], +∞ where protected: the lowest go first, of two equal the lower slot. */
  readonly scores: Tensor;
  /** f32 [batch.totalSlots × groupSize], see {@link windowSums} of the last query. */
  readonly attention: Tensor;
  /** Part of the norm that may be lost. */
  readonly threshold: number;
  /** Layers that keep everything. */
  readonly skipLayers: readonly number[];
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
  /** Told what each layer of each sequence decided. */
  readonly onLayer?: (decision: HaltingDecision) => void;
}

export interface HaltingDecision extends NormLoss {
  readonly sequence: number;
  readonly layer: number;
  /** Candidates that each row gives up. */
  readonly evicted: number;
}

/**
 * Evicts every layer's cheapest tokens while the norm of the last query's attention over the others,
 * a mean over query heads, has lost no more than the threshold. Protected tokens are no candidates:
 * they stay and do not count for the norm. Rows of a layer give up equally many.
 */
export const haltingCounts = defineKernel<HaltingCountsParams>({
  name: "halting-counts",
  reference(params) {
    const { batch, threshold, skipLayers, onLayer } = params;
    const out = hostArray(params.counts, "u32");
    for (const { sequence, nextPosition, layers } of layersOfSequences(batch, params.scores))
      layers.forEach((rows, index) => {
        const layer = batch.layers[index]!;
        const candidates = rows.map((row) => candidatesOf(params, row, nextPosition));
        const loss = normLoss(rows.flatMap((row, i) => weightsOf(params, row, candidates[i]!)));
        const skipped = skipLayers.includes(layer);
        const evicted = skipped ? 0 : candidatesToEvict(loss, threshold);
        rows.forEach(({ row, length, protectedSlots }, i) => {
          const kept = protectedSlots + candidates[i]!.length - evicted;
          out[row] = skipped ? length : Math.max(1, kept);
        });
        onLayer?.({ ...loss, sequence, layer, evicted });
      });
  },
});

/** Slots within the row, in the order in which they go; the target may leave only the last. */
function candidatesOf(
  { batch, target, scores }: HaltingCountsParams,
  { begin, length, protectedSlots }: LayerRow,
  nextPosition: number,
): readonly number[] {
  const own = hostArray(scores, "f32").subarray(begin, begin + length);
  const open = [...own.keys()].filter((slot) => own[slot] !== Number.POSITIVE_INFINITY);
  open.sort((a, b) => own[a]! - own[b]! || a - b);
  const most =
    "ratio" in target
      ? roundHalfEven(nextPosition * target.ratio)
      : targetTokens(target, nextPosition, batch.layout);
  return open.slice(Math.max(0, open.length - Math.max(0, most - protectedSlots)));
}

/** The candidates' attention, one array for each query head of the row. */
function weightsOf(
  { batch, attention }: HaltingCountsParams,
  { begin, length }: LayerRow,
  candidates: readonly number[],
): Float64Array[] {
  const table = hostArray(attention, "f32");
  const group = groupSize(batch.shape);
  return Array.from({ length: group }, (_, member) => {
    const at = begin * group + member * length;
    return Float64Array.from(candidates, (slot) => table[at + slot]!);
  });
}
