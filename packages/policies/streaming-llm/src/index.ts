import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import { position } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface StreamingLLMOptions {
  /** First tokens, never evicted. */
  readonly sinks?: number;
  /** Decoded tokens between two evictions. */
  readonly interval?: number;
  /** Sinks stay also where a ratio keeps fewer tokens; false keeps what the ratio says, as kvpress. */
  readonly keepProtected?: boolean;
}

/**
 * StreamingLLM — keep the first tokens, which attention uses as sinks, and a sliding window.
 * The budget minus the sinks is the window, in every head alike.
 * Xiao et al. 2023, arXiv:2309.17453. Differs from the paper: tokens keep their true positions
 * instead of those inside the cache; eviction every `interval` tokens, not at every one.
 */
export const streamingLLM = (options: StreamingLLMOptions = {}) => {
  const { sinks = 4, interval = 16, keepProtected = true } = options;
  return definePolicy({
    name: "streaming-llm",
    paper: "arXiv:2309.17453",
    scorer: position(),
    budget: uniform({ keepProtected }),
    selector: topK(),
    trigger: { prefill: true, interval, pressure: true },
    protect: { sinks, recent: 0 },
    queryAware: false,
    options: { sinks, interval, keepProtected },
  });
};
