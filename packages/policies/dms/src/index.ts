import { threshold as thresholdBudget } from "@kvcache/budget-threshold";
import {
  checkPolicy,
  checkWholeNumber,
  definePolicy,
  type EvictionPolicy,
  policyOption,
} from "@kvcache/core";
import { keyNorm, onArrival } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface DMSOptions {
  /** Whose scores are compared with the threshold; null: minus the norms of the keys. */
  readonly policy?: EvictionPolicy | null;
  /** Tokens that score less go; null: none is too low, and the target alone decides. */
  readonly threshold?: number | null;
  /** Last tokens that stay whatever they score. */
  readonly window?: number;
  /** Goes on while the answer grows, every `interval` tokens. */
  readonly decoding?: boolean;
  readonly interval?: number;
}

const byKeyNorm = () => ({
  scorer: keyNorm(),
  protect: { sinks: 0, recent: 0 },
  queryAware: false,
});

/**
 * DMS — what scores below a threshold goes, once it has left a window of recent tokens.
 * A token is scored once, with those that arrived beside it; the plan's target is only a ceiling.
 * Łańcucki et al. 2025, arXiv:2506.05345. Differs from the paper: any scorer stands in for the trained
 * one; the prompt is attended to in full; in decoding eviction comes every `interval` tokens.
 */
export const dms = (options: DMSOptions = {}) => {
  const { policy = null, threshold = null, decoding = false, interval = 16 } = options;
  const window = checkWholeNumber("window", options.window ?? 128, 0);
  const base = policy ? checkPolicy("policy", policy) : byKeyNorm();
  const { sinks, recent } = base.protect;
  return definePolicy({
    name: "dms",
    paper: "arXiv:2506.05345",
    scorer: onArrival(base.scorer),
    budget: thresholdBudget({ threshold }),
    selector: topK(),
    trigger: { prefill: true, ...(decoding && { interval }), pressure: false },
    protect: { sinks, recent: Math.max(window, recent) },
    queryAware: base.queryAware,
    options: { policy: policyOption(policy), threshold, window, decoding, interval },
  });
};
