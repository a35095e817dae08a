import { adaKV } from "@kvcache/budget-ada-kv";
import { checkPolicy, definePolicy, type EvictionPolicy, policyOption } from "@kvcache/core";
import { windowAttention } from "@kvcache/scorers";
import { critical } from "@kvcache/selectors";

export interface CriticalAdaKVOptions {
  /** Whose scores and protection are used; null: SnapKV's, window 64. */
  readonly policy?: EvictionPolicy | null;
  /** Part of its even share that each head is sure of. */
  readonly safeguard?: number;
  /** Part of a head's tokens that the scores choose alone. */
  readonly firstStage?: number;
  /** Added to the scores before they are multiplied by the values' size. */
  readonly epsilon?: number;
  /** Protected tokens stay also where a ratio keeps fewer; false lets them go, as kvpress does. */
  readonly keepProtected?: boolean;
}

/**
 * Critical Ada-KV — head budgets by Ada-KV, tokens inside a head by CriticalKV.
 * The best scores of a layer say how many tokens a head keeps; part of them go to its best scores, the
 * rest to the largest score × ‖W_O v‖₁.
 * Feng et al. 2025, arXiv:2502.03805. Differs from the paper: as kvpress, the norm is averaged over the
 * query heads of a KV head; protected tokens always stay.
 */
export const criticalAdaKV = (options: CriticalAdaKVOptions = {}) => {
  const { policy = null, safeguard = 0.2, firstStage = 0.5, epsilon = 1e-4 } = options;
  const { keepProtected = true } = options;
  const base = policy === null ? snapKV : checkPolicy("policy", policy);
  return definePolicy({
    name: "critical-ada-kv",
    paper: "arXiv:2502.03805",
    scorer: base.scorer,
    budget: adaKV({ mode: "reserve-then-global", safeguard, keepProtected }),
    selector: critical({ firstStage, epsilon, safeguard }),
    trigger: { prefill: true, pressure: false },
    protect: base.protect,
    queryAware: base.queryAware,
    options: { policy: policyOption(policy), safeguard, firstStage, epsilon, keepProtected },
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
