import { uniform } from "@kvcache/budget-uniform";
import {
  checkPolicy,
  definePolicy,
  type EvictionPolicy,
  KvCacheError,
  policyOption,
} from "@kvcache/core";
import { keyNorm } from "@kvcache/scorers";
import { nearestMerging, topK } from "@kvcache/selectors";

export interface MergingOptions {
  /** What evicts; null: tokens with long keys go. */
  readonly policy?: EvictionPolicy | null;
  /** Least cosine similarity of two keys whose values are merged, in [0, 1]. */
  readonly threshold?: number;
  /** Fraction of the evicted tokens that are merged, the most similar ones, in (0, 1]. */
  readonly fraction?: number;
}

const byKeyNorm = () => ({
  scorer: keyNorm(),
  budget: uniform(),
  selector: topK(),
  transform: undefined,
  trigger: { prefill: true, pressure: false },
  protect: { sinks: 0, recent: 0 },
  queryAware: false,
});

/**
 * Merging — fold the values of evicted tokens into those that stay.
 * Each goes to the kept token of the most similar key, weighted by similarity and norms; keys stay.
 * Part of kvpress, after Bolya et al. 2023, arXiv:2210.09461, and D2O, arXiv:2406.13035. Differs from
 * the paper: kvpress' own rule; a fraction below 1 merges also where few tokens pass the threshold.
 */
export const merging = ({ policy = null, threshold = 0, fraction = 1 }: MergingOptions = {}) => {
  const { transform, ...base } = policy ? checkPolicy("policy", policy) : byKeyNorm();
  if (transform)
    throw new KvCacheError("invalid-plan", `Policy ${policy!.name} changes what it keeps itself.`, {
      value: policy!.name,
      remedy: "Merge over the policy that it wraps.",
    });
  return definePolicy({
    name: "merging",
    paper: "arXiv:2406.13035",
    scorer: base.scorer,
    budget: base.budget,
    selector: base.selector,
    transform: nearestMerging({ threshold, fraction }),
    trigger: base.trigger,
    protect: base.protect,
    queryAware: base.queryAware,
    options: { policy: policyOption(policy), threshold, fraction },
  });
};
