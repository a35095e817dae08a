import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import { random as randomScorer } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface RandomPolicyOptions {
  /** Same seed, same tokens. */
  readonly seed?: number;
}

/**
 * Random — keep tokens by seeded chance.
 * What every other method must beat; KV heads keep different tokens, layers the same.
 * kvpress 0.5.5, RandomPress; no paper of its own. Differs from the paper: seed 0 where none is
 * given, so that runs repeat.
 */
export const random = ({ seed = 0 }: RandomPolicyOptions = {}) =>
  definePolicy({
    name: "random",
    paper: "none: a baseline",
    scorer: randomScorer({ seed }),
    budget: uniform(),
    selector: topK(),
    trigger: { prefill: true, pressure: true },
    protect: { sinks: 0, recent: 0 },
    queryAware: false,
    options: { seed },
  });
