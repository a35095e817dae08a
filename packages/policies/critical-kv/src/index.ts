import { uniform } from "@kvcache/budget-uniform";
import { checkPolicy, definePolicy, type EvictionPolicy, policyOption } from "@kvcache/core";
import { windowAttention } from "@kvcache/scorers";
import { critical } from "@kvcache/selectors";

export interface CriticalKVOptions {
  /** Whose scores and protection are used; null: SnapKV's, window 64. */
  readonly policy?: EvictionPolicy | null;
  /** Part of the kept tokens that the scores choose alone. */
  readonly firstStage?: number;
  /** Added to the scores before they are multiplied by the values' size. */
  readonly epsilon?: number;
  /** Protected tokens stay also where a ratio keeps fewer; false lets them go, as kvpress does. */
  readonly keepProtected?: boolean;
}

/**
 * CriticalKV — choose the second half of the kept tokens by what they can add to the output.
 * Part of the budget goes to the best scores of any policy, the rest to the largest score × ‖W_O v‖₁.
 * Feng et al. 2025, arXiv:2502.03805. Differs from the paper: as kvpress, the norm is averaged over the
 * query heads of a KV head; protected tokens always stay.
 */
export const criticalKV = (options: CriticalKVOptions = {}) => {
  const { policy = null, firstStage = 0.5, epsilon = 1e-4, keepProtected = true } = options;
  const base = policy === null ? snapKV : checkPolicy("policy", policy);
  return definePolicy({
    name: "critical-kv",
    paper: "arXiv:2502.03805",
    scorer: base.scorer,
    budget: uniform({ keepProtected }),
    selector: critical({ firstStage, epsilon }),
    trigger: { prefill: true, pressure: false },
    protect: base.protect,
    queryAware: base.queryAware,
    options: { policy: policyOption(policy), firstStage, epsilon, keepProtected },
  });
};

const snapKV = /* @__PURE__ */ Object.freeze({
  scorer: /* @__PURE__ */ windowAttention({
    window: 64,
    pooling: { kind: "avg", size: 5 },
    poolFirst: true,
  }),
  protect: { sinks: 0, recent: 64 },
  queryAware: true,
});
