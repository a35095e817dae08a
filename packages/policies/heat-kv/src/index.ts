import { heatKV as heatKVBudget } from "@kvcache/budget-heat-kv";
import { definePolicy, type HeadProfile, profileIdentity } from "@kvcache/core";
import { distanceHeat } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export { type HeatCollector, heatCollector } from "@kvcache/scorers";

export interface HeatKVOptions {
  /** Of the model's heads, kind heat-kv; without it no plan is accepted. */
  readonly profile?: HeadProfile | null;
  /** First tokens that every head keeps. */
  readonly sinks?: number;
  /** Last tokens that every head keeps. */
  readonly recent?: number;
  /** Decoded tokens between two evictions. */
  readonly interval?: number;
}

/**
 * HeatKV — per head, keep the stretches of context that it reads.
 * A profile of the model, made once, says how much attention each head pays to stretches at which
 * distance; whole stretches leave the heads that need them least, until the budget is met.
 * HeatKV 2026, arXiv:2605.14877. Differs from the paper: a text decoder instead of an image model:
 * stretches by distance stand for scales, the first and the last tokens for the sink scales.
 */
export const heatKV = (options: HeatKVOptions = {}) => {
  const { profile = null, sinks = 4, recent = 32, interval = 64 } = options;
  return definePolicy({
    name: "heat-kv",
    paper: "arXiv:2605.14877",
    scorer: distanceHeat({ profile }),
    budget: heatKVBudget(),
    selector: topK(),
    trigger: { prefill: true, interval, pressure: true },
    protect: { sinks, recent },
    queryAware: false,
    options: { profile: profileIdentity(profile), sinks, recent, interval },
  });
};
