import { headKV as headKVBudget } from "@kvcache/budget-head-kv";
import { definePolicy, type HeadProfile, profileIdentity } from "@kvcache/core";
import { type WindowAttentionOptions, windowAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export { convertHeadScores } from "@kvcache/budget-head-kv";
export { type RetrievalCollector, retrievalCollector } from "@kvcache/scorers";

export interface HeadKVOptions
  extends Partial<
    Pick<WindowAttentionOptions, "window" | "pooling" | "rowReduce" | "groupReduce">
  > {
  /** Of the model's heads, kind head-kv; without it no plan is accepted. */
  readonly profile?: HeadProfile | null;
  /** About 1 / beta of the budget goes by the profile, the rest evenly. */
  readonly beta?: number;
  /** Exponent on the profile's scores. */
  readonly temperature?: number;
}

/**
 * HeadKV — give heads that retrieve and reason a larger budget.
 * A profile of the model, made once, says which heads those are; each keeps what SnapKV's scores
 * prefer.
 * Fu et al. 2024, arXiv:2410.19258. Differs from the paper: see @kvcache/budget-head-kv; scores are
 * reduced over the query heads of a KV head.
 */
export const headKV = (options: HeadKVOptions = {}) => {
  const { window = 8, pooling = { kind: "max", size: 7 }, rowReduce = "mean" } = options;
  const { groupReduce = "mean", beta = 1.01, temperature = 1, profile = null } = options;
  return definePolicy({
    name: "head-kv",
    paper: "arXiv:2410.19258",
    scorer: windowAttention({ window, pooling, rowReduce, groupReduce }),
    budget: headKVBudget({ profile, beta, temperature }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent: window },
    queryAware: true,
    options: {
      window,
      pooling,
      rowReduce,
      groupReduce,
      profile: profileIdentity(profile),
      beta,
      temperature,
    },
  });
};
