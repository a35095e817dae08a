import { luKV as luKVBudget } from "@kvcache/budget-lu-kv";
import { definePolicy, type EvictionPolicy } from "@kvcache/core";
import { type BudgetCurveFile, checkModelFingerprint, expectedAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export {
  type BudgetCurveFile,
  convertBudgetCurve,
  readBudgetCurve,
  writeBudgetCurve,
} from "@kvcache/scorers";

export interface LuKVOptions {
  /** Of the model and scorer that the policy serves; a plan without it is refused. */
  readonly curve?: BudgetCurveFile | null;
  /** Whose scores rank the tokens of a head; Expected Attention with an epsilon of 0.02 when null. */
  readonly policy?: EvictionPolicy | null;
  /** First tokens, never evicted; those that the other policy protects stay too. */
  readonly sinks?: number;
  /** Last tokens, never evicted. */
  readonly recent?: number;
  /** Both ends stay also where the curve gives a head fewer; false lets them go, as kvpress does. */
  readonly keepProtected?: boolean;
}

/**
 * LU-KV — give each head what its future use is worth, by a curve found offline.
 * The curve says for every percentage of the target how much each head evicts; a scorer ranks the
 * tokens inside the head.
 * LU-KV 2026, arXiv:2602.08585. Differs from the paper: none; curves come from the authors' tools.
 */
export const luKV = (options: LuKVOptions = {}) => {
  const { curve = null, policy = null, sinks = 4, recent = 1, keepProtected = true } = options;
  const scorer = policy?.scorer ?? expectedAttention({ epsilon: 0.02, sinks });
  const budget = luKVBudget({ curve, keepProtected });
  const others = policy?.protect ?? { sinks: 0, recent: 0 };
  return definePolicy({
    name: "lu-kv",
    paper: "arXiv:2602.08585",
    scorer,
    budget: {
      ...budget,
      checkShape(shape, fingerprint) {
        budget.checkShape?.(shape);
        if (curve) checkModelFingerprint("budget curve", curve, fingerprint);
      },
    },
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: {
      sinks: Math.max(sinks, others.sinks),
      recent: Math.max(recent, others.recent),
    },
    queryAware: policy?.queryAware ?? false,
    options: {
      curve: curve && { model: curve.model, fingerprint: curve.fingerprint },
      policy: policy && { name: policy.name, ...policy.options },
      sinks,
      recent,
      keepProtected,
    },
  });
};
