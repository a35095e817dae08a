import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import { type RedundancyAwareOptions, redundancyAware } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface RKVOptions extends Partial<RedundancyAwareOptions> {
  /** Decoded tokens between two evictions. Default 128. */
  readonly interval?: number;
}

/**
 * R-KV — while the model thinks aloud, keep what it looks at and does not say twice.
 * Scores a token by the attention of the last queries against the likeness of its key to others; of
 * look-alikes the newest stays. Every `interval` tokens each head falls back to its budget.
 * Cai et al. 2025, arXiv:2505.24133. Differs from the paper: λ is 0.07 as in the authors' code, not
 * 0.1; tokens stay in the order of their positions; a long prompt is compressed at its end too.
 */
export const rKV = (options: RKVOptions = {}) => {
  const { window = 8, lambda = 0.07, similarityThreshold = 0.5, groupReduce = "max" } = options;
  const { interval = 128 } = options;
  const { pooling } = { pooling: { kind: "max", size: 7 } as const, ...options };
  return definePolicy({
    name: "r-kv",
    paper: "arXiv:2505.24133",
    scorer: redundancyAware({ window, pooling, groupReduce, lambda, similarityThreshold }),
    budget: uniform(),
    selector: topK(),
    trigger: { prefill: true, interval, pressure: false },
    protect: { sinks: 0, recent: window },
    queryAware: true,
    options: { window, pooling, groupReduce, lambda, similarityThreshold, interval },
  });
};
