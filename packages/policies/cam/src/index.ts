import { uniform } from "@kvcache/budget-uniform";
import { checkPolicy, definePolicy, type EvictionPolicy, policyOption } from "@kvcache/core";
import { accumulatedAttention, position } from "@kvcache/scorers";
import { forwardMerging, sharedTopK } from "@kvcache/selectors";

export interface CAMOptions {
  /** Whose scores and budget decide what goes; null: the oldest after 4 sinks (StreamingLLM). */
  readonly policy?: EvictionPolicy | null;
  /** Decoded tokens between two compressions, and evicted tokens that are merged at each. */
  readonly interval?: number;
  /** Kept tokens that follow an evicted one and share its value. */
  readonly mergeBudget?: number;
  /** Of the random draws. */
  readonly seed?: number;
}

const byAge = () => ({
  scorer: position(),
  budget: uniform(),
  protect: { sinks: 4, recent: 0 },
  queryAware: false,
});

/**
 * CaM — merge the values of tokens that go into those of the tokens that follow, by chance.
 * While decoding, the best of the evicted are added to their next kept neighbours, with the
 * probability that their attention bears to the neighbours' mean; all heads keep the same tokens.
 * Zhang et al. 2024, openreview.net/forum?id=LCTmppB165. Differs from the paper: in bulk every
 * `interval` tokens; draws depend on seed, layer, head and position alone.
 */
export const cam = (options: CAMOptions = {}) => {
  const { policy = null, interval = 512, mergeBudget = 32, seed = 0 } = options;
  const base = policy ? checkPolicy("policy", policy) : byAge();
  const attention = accumulatedAttention({ phase: "decode" });
  return definePolicy({
    name: "cam",
    paper: "https://openreview.net/forum?id=LCTmppB165",
    scorer: { ...base.scorer, needs: [...base.scorer.needs, ...attention.needs] },
    budget: base.budget,
    selector: sharedTopK(),
    transform: forwardMerging({ merges: interval, neighbours: mergeBudget, seed }),
    trigger: { prefill: false, interval, pressure: false },
    protect: base.protect,
    queryAware: base.queryAware,
    options: { policy: policyOption(policy), interval, mergeBudget, seed },
  });
};
