import { byPhase as budgetByPhase } from "@kvcache/budget-by-phase";
import { uniform } from "@kvcache/budget-uniform";
import {
  type BudgetTarget,
  checkPolicy,
  checkTarget,
  definePolicy,
  type EvictionPolicy,
  policyOption,
} from "@kvcache/core";
import { keyNorm, byPhase as scorerByPhase, windowAttention } from "@kvcache/scorers";
import { byPhase as selectorByPhase, topK, transformByPhase } from "@kvcache/selectors";

export interface PrefillDecodingOptions {
  /** What evicts when the prompt ends; null: what its last 64 queries do not look at. */
  readonly prefill?: EvictionPolicy | null;
  /** What evicts while the answer grows; null: tokens with long keys, but for the last 64. */
  readonly decoding?: EvictionPolicy | null;
  /** Decoded tokens between two compressions. */
  readonly interval?: number;
  /** What decoding compresses to; null: the plan's target, as the prompt. */
  readonly target?: BudgetTarget | null;
}

const parts = () => ({ budget: uniform(), selector: topK(), transform: undefined });
const byObservation = () => ({
  ...parts(),
  scorer: windowAttention({ window: 64, pooling: { kind: "avg", size: 5 }, poolFirst: true }),
  protect: { sinks: 0, recent: 64 },
  queryAware: true,
});
const byKeyNorm = () => ({
  ...parts(),
  scorer: keyNorm(),
  protect: { sinks: 0, recent: 64 },
  queryAware: false,
});

/**
 * Prefill, then decoding — one policy for the prompt, another for the answer.
 * Each scores, protects, budgets and selects in its own phase; the second runs every `interval` tokens.
 * The rule of kvpress' PrefillDecodingPress; no paper of its own. Differs from the paper: none.
 */
export const prefillDecoding = (options: PrefillDecodingOptions = {}) => {
  const { prefill = null, decoding = null, interval = 512, target = null } = options;
  const first = prefill ? checkPolicy("prefill", prefill) : byObservation();
  const later = decoding ? checkPolicy("decoding", decoding) : byKeyNorm();
  const transform = transformByPhase(first.transform, later.transform);
  return definePolicy({
    name: "prefill-decoding",
    paper: "https://github.com/NVIDIA/kvpress",
    scorer: scorerByPhase(first, later),
    budget: budgetByPhase({
      prefill: first,
      decoding: { ...later, target: target && checkTarget(target) },
    }),
    selector: selectorByPhase(first.selector, later.selector, target),
    ...(transform && { transform }),
    trigger: { prefill: true, interval, pressure: false },
    // The scorer protects what each of the two does; this is what both do.
    protect: {
      sinks: Math.min(first.protect.sinks, later.protect.sinks),
      recent: Math.min(first.protect.recent, later.protect.recent),
    },
    queryAware: first.queryAware,
    options: { prefill: policyOption(prefill), decoding: policyOption(decoding), interval, target },
  });
};
