import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import { type WindowAttentionOptions, windowAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface FastKVOptions
  extends Partial<Pick<WindowAttentionOptions, "window" | "pooling" | "groupReduce">> {
  /** The window stays also where a ratio keeps fewer tokens; false lets it go. Default true. */
  readonly keepProtected?: boolean;
}

/**
 * FastKV — keep what the last queries look at, whatever later layers were shown.
 * Scores a token by the attention of the last queries, pooled per query head, summed over the group;
 * every layer keeps the same part of the prompt.
 * Jo et al. 2025, arXiv:2502.01068. Differs from the paper: the cache rule alone. Later layers go on
 * over the whole prompt; which hidden states the paper would pass on, `tspTokens` of
 * @kvcache/selectors says.
 */
export const fastKV = (options: FastKVOptions = {}) => {
  const { window = 8, groupReduce = "sum", keepProtected = true } = options;
  const { pooling } = { pooling: { kind: "avg", size: 7 } as const, ...options };
  return definePolicy({
    name: "fast-kv",
    paper: "arXiv:2502.01068",
    scorer: windowAttention({ window, pooling, rowReduce: "sum", groupReduce, poolFirst: true }),
    budget: uniform({ keepProtected }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent: window },
    queryAware: true,
    options: { window, pooling, groupReduce, keepProtected },
  });
};
