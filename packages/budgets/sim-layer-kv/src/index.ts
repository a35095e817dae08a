import { type BudgetAllocator, checkWholeNumber, KvCacheError, numRows, sum } from "@kvcache/core";
import { evenShare, lazyLayers, rowCounts, windowScore } from "@kvcache/kernels";

export interface SimLayerKVBudgetOptions {
  /**
   * A layer is lazy where the attention on its first and last tokens is above it; 1 (default) finds
   * none. Published: 0.9 for Llama 3, 0.65 for Llama 2, 0.8 for Mistral, 0.85 for Qwen 2.
   */
  readonly threshold?: number;
  /** First tokens looked at, and kept. Default 4. */
  readonly sinks?: number;
  /** Last tokens looked at; the last `recent` − `last` are kept. Default 1024. */
  readonly recent?: number;
  /** Last queries that are observed. Default 1. */
  readonly last?: number;
}

/**
 * SimLayerKV — lazy layers keep a window, the others everything.
 * A layer is lazy when its last queries look at the first and the last tokens only.
 * Zhang et al. 2024, arXiv:2410.13846. Differs from the paper: none. The method decides by itself how
 * much it keeps, so plans take no target but { ratio: 1 }.
 */
export function simLayerKV(options: SimLayerKVBudgetOptions = {}): BudgetAllocator {
  const { threshold = 1, sinks = 4, recent = 1024, last = 1 } = options;
  checkWholeNumber("sinks", sinks, 0);
  checkWholeNumber("last", last, 1);
  checkWholeNumber("recent", recent, last);
  if (Number.isNaN(threshold))
    throw new KvCacheError("invalid-argument", "threshold must be a number.", { value: threshold });
  return Object.freeze<BudgetAllocator>({
    name: "sim-layer-kv",
    needs: [{ kind: "windowQueries", window: last }],
    withoutTarget: "its threshold and the prompt decide how much stays",
    resolve(request) {
      // Refuses what is no target, though it is not looked at.
      evenShare(request, false);
      // Every layer may turn out not to be lazy.
      return sum(request.lengths);
    },
    allocate(encoder, { batch }, counts) {
      if (threshold >= 1) {
        const rows = batch.sequences.length * numRows(batch.shape);
        const wanted = encoder.upload(new Uint32Array(rows).fill(0xffffffff));
        encoder.run(rowCounts, { batch, wanted, counts });
        return;
      }
      const attention = encoder.tensor("f32", batch.totalSlots);
      const lazyScores = encoder.tensor("f32", batch.sequences.length * batch.layers.length);
      const window = { window: last, excludeWindow: true } as const;
      const reduce = { rowReduce: "mean", groupReduce: "mean" } as const;
      encoder.run(windowScore, { ...window, ...reduce, batch, out: attention });
      const limits = { sinks, recent, last, threshold };
      encoder.run(lazyLayers, { ...limits, batch, attention, lazyScores, counts });
    },
  });
}
