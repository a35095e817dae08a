import { uniform } from "@kvcache/budget-uniform";
import { checkOneOf, definePolicy, type Protect } from "@kvcache/core";
import { accumulatedAttention, sampled, windowAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface ScissorhandsOptions {
  /** Last queries of a prompt whose attention counts; null counts all of them. */
  readonly historyWindow?: number | null;
  /** What earlier importance is worth at the next eviction. */
  readonly decay?: number;
  readonly protect?: Protect;
  /** Keep the most important tokens, or a sample that prefers them. */
  readonly selection?: "topk" | "sample";
  /** Of the sample; 0 draws evenly. */
  readonly temperature?: number;
  /** Of the sample. */
  readonly seed?: number;
  /** Decoded tokens between two evictions. */
  readonly interval?: number;
  /** Protected tokens stay also where a ratio keeps fewer; false keeps the last of them. */
  readonly keepProtected?: boolean;
}

/**
 * Scissorhands — keep what stayed important.
 * Importance persists: attention over a history of queries, fading from one eviction to the next, says
 * what later queries will need; first and last tokens always stay.
 * Liu et al. 2023, arXiv:2305.17118. Differs from the paper: sums of attention, as KVCache-Factory,
 * not counts of unimportant steps; reduced over the query heads of a KV head.
 */
export const scissorhands = (options: ScissorhandsOptions = {}) => {
  const { historyWindow = null, decay = 1, protect = { sinks: 4, recent: 16 } } = options;
  const { selection = "topk", temperature = 1, seed = 0, interval = 16 } = options;
  const { keepProtected = true } = options;
  checkOneOf("selection", selection, ["topk", "sample"]);
  // Group sums, like those that the cache adds to them while decoding.
  const atPrefillEnd =
    historyWindow === null
      ? undefined
      : windowAttention({
          window: historyWindow,
          rowReduce: "sum",
          groupReduce: "sum",
          excludeWindow: false,
        });
  const importance = accumulatedAttention({
    groupReduce: "mean",
    decay,
    ...(atPrefillEnd && { phase: "decode", atPrefillEnd }),
  });
  return definePolicy({
    name: "scissorhands",
    paper: "arXiv:2305.17118",
    scorer: selection === "topk" ? importance : sampled(importance, { temperature, seed }),
    budget: uniform({ keepProtected }),
    selector: topK({ ties: "higher-slot" }),
    trigger: { prefill: true, interval, pressure: true },
    protect,
    queryAware: true,
    options: {
      historyWindow,
      decay,
      protect,
      selection,
      temperature,
      seed,
      interval,
      keepProtected,
    },
  });
};
