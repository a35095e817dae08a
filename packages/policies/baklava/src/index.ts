import {
  type BaklavaOptions as BudgetOptions,
  baklava as baklavaBudget,
} from "@kvcache/budget-baklava";
import {
  checkPolicy,
  definePolicy,
  type EvictionPolicy,
  policyOption,
  profileIdentity,
} from "@kvcache/core";
import { windowAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export {
  baklavaProfile,
  type FoundSettings,
  type ImportanceSums,
  importanceOf,
  importanceProfiler,
  type ShareSettings,
  searchShares,
  shareGrid,
} from "@kvcache/budget-baklava";

export interface BaklavaOptions extends BudgetOptions {
  /** Whose scores and protection choose inside a head's budget; null: SnapKV's, and four sinks. */
  readonly policy?: EvictionPolicy | null;
}

/**
 * BaKlaVa — a budget for every head, profiled once per model.
 * Heads that change what enters them keep more tokens, whatever the input; inside a budget any policy's
 * scores choose.
 * Gulhan et al. 2025, arXiv:2502.13176. Differs from the paper: see @kvcache/budget-baklava; the paper's
 * rule inside a budget is not known to us.
 */
export const baklava = (options: BaklavaOptions = {}) => {
  const { profile = null, policy = null, gamma = null, family = null, minTokens = 36 } = options;
  const base = policy === null ? snapKV : checkPolicy("policy", policy);
  return definePolicy({
    name: "baklava",
    paper: "arXiv:2502.13176",
    scorer: base.scorer,
    budget: baklavaBudget({ profile, gamma, family, minTokens }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: base.protect,
    queryAware: base.queryAware,
    options: {
      profile: profileIdentity(profile),
      policy: policyOption(policy),
      gamma,
      family,
      minTokens,
    },
  });
};

const snapKV = /* @__PURE__ */ Object.freeze({
  scorer: /* @__PURE__ */ windowAttention({
    window: 32,
    pooling: { kind: "avg", size: 5 },
    poolFirst: true,
  }),
  protect: { sinks: 4, recent: 32 },
  queryAware: true,
});
