import { type AdaKVBudgetOptions, adaKV } from "@kvcache/budget-ada-kv";
import { checkPolicy, definePolicy, type EvictionPolicy, policyOption } from "@kvcache/core";
import { type WindowAttentionOptions, windowAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface AdaPyramidKVOptions
  extends Partial<
    Pick<WindowAttentionOptions, "window" | "pooling" | "rowReduce" | "groupReduce">
  > {
  /** Scores and protection of another policy in place of SnapKV's; comparable between heads. */
  readonly policy?: EvictionPolicy | null;
  /** How steep the budget falls from the first layer to the last; 1 is Ada-KV. */
  readonly beta?: number;
  /** Weight of the even split between the heads of a layer, in [0, 1]. */
  readonly floor?: number;
  /** Whether heads round for themselves, so that totals drift, or a layer's total is kept. */
  readonly rounding?: "reference" | "exact";
  /** Leading layers that are split evenly. */
  readonly skipLayers?: number;
}

/**
 * Ada-PyramidKV — Ada-KV's split between heads over PyramidKV's split between layers.
 * Lower layers get more tokens, and within a layer they go to the heads that hold its best scores.
 * Feng et al. 2024, arXiv:2407.11550. Differs from the paper: see @kvcache/budget-ada-kv; scores are
 * reduced over the query heads of a KV head.
 */
export const adaPyramidKV = (options: AdaPyramidKVOptions = {}) => {
  const { window = 32, pooling = { kind: "max", size: 7 }, rowReduce = "mean" } = options;
  const { groupReduce = "mean", beta = 20, floor = 0.2, rounding = "exact" } = options;
  const { skipLayers = 0 } = options;
  const policy = options.policy ? checkPolicy("policy", options.policy) : null;
  const budget: AdaKVBudgetOptions = {
    floor,
    rounding,
    skipLayers,
    layerBudget: { kind: "pyramid", beta },
  };
  return definePolicy({
    name: "ada-pyramid-kv",
    paper: "arXiv:2407.11550",
    scorer: policy?.scorer ?? windowAttention({ window, pooling, rowReduce, groupReduce }),
    budget: adaKV(budget),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: policy?.protect ?? { sinks: 0, recent: window },
    queryAware: policy?.queryAware ?? true,
    options: {
      window,
      pooling,
      rowReduce,
      groupReduce,
      policy: policyOption(policy),
      beta,
      floor,
      rounding,
      skipLayers,
    },
  });
};
