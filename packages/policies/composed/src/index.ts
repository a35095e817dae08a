import { uniform } from "@kvcache/budget-uniform";
import { checkPolicy, definePolicy, type EvictionPolicy, policyOption } from "@kvcache/core";
import { keyNorm, successive, windowAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface ComposedOptions {
  /** In the order in which they evict; null: attention of the last 64 queries, then key norms. */
  readonly policies?: readonly EvictionPolicy[] | null;
  /** How many times the target each policy but the last keeps; null: twice what the next one does. */
  readonly multiples?: readonly number[] | null;
}

const parts = () => ({
  paper: "none",
  budget: uniform(),
  selector: topK(),
  trigger: { prefill: true, pressure: false },
  options: {},
});
const byObservation = () =>
  definePolicy({
    ...parts(),
    name: "observation",
    scorer: windowAttention({ window: 64, pooling: { kind: "avg", size: 5 }, poolFirst: true }),
    protect: { sinks: 0, recent: 64 },
    queryAware: true,
  });
const byKeyNorm = () =>
  definePolicy({
    ...parts(),
    name: "key-norm",
    scorer: keyNorm(),
    protect: { sinks: 0, recent: 0 },
    queryAware: false,
  });

/**
 * Composed — one policy evicts from what another leaves.
 * Each but the last keeps a multiple of the target; the last scores the rest and meets the target.
 * The rule of kvpress' ComposedPress; no paper of its own. Differs from the paper: ratios follow from
 * the plan's target; what an earlier policy evicted comes back only if the target has room for it.
 */
export const composed = ({ policies = null, multiples = null }: ComposedOptions = {}) => {
  const chosen = policies?.map((policy, i) => checkPolicy(`policies[${i}]`, policy));
  const list = chosen ?? [byObservation(), byKeyNorm()];
  const scorer = successive(list, multiples);
  const { budget, selector, transform, trigger, protect } = list.at(-1)!;
  return definePolicy({
    name: "composed",
    paper: "https://github.com/NVIDIA/kvpress",
    scorer,
    budget,
    selector,
    ...(transform && { transform }),
    trigger,
    protect,
    queryAware: list.some((policy) => policy.queryAware),
    options: { policies: chosen?.map(policyOption) ?? null, multiples },
  });
};
