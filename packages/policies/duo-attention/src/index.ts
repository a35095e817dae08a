import { duoAttention as duoAttentionBudget } from "@kvcache/budget-duo-attention";
import { definePolicy, type HeadProfile, profileIdentity } from "@kvcache/core";
import { position } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export { convertDuoAttentionPattern } from "@kvcache/budget-duo-attention";
export { type DuoCollector, duoCollector } from "@kvcache/scorers";

export interface DuoAttentionOptions {
  /** Of the model's heads, kind duo-attention; without it no plan is accepted. */
  readonly profile?: HeadProfile | null;
  /**
   * Part of all heads that stream, in [0, 1], 0.5 in the paper: the plan's target is { ratio: 1 } then.
   * null takes as many as the target needs.
   */
  readonly streamingHeads?: number | null;
  /** Exactly that part, lowest scores first, or all below the quantile, as the authors. */
  readonly rule?: "lowest" | "quantile";
  /** First tokens that streaming heads keep; those that the profile was made for, or 128. */
  readonly sinks?: number;
  /** Last tokens that streaming heads keep; those that the profile was made for, or 256. */
  readonly recent?: number;
  /** Decoded tokens between two evictions. */
  readonly interval?: number;
}

/**
 * DuoAttention — retrieval heads keep everything, streaming heads the first and the last tokens.
 * A profile of the model says which heads retrieve: published gates, or scores computed on the fly
 * from mean queries and keys.
 * Xiao et al. 2024, arXiv:2410.10819. Differs from the paper: streaming heads attend to everything
 * while the prompt is read, and are cut every `interval` tokens while decoding.
 */
export const duoAttention = (options: DuoAttentionOptions = {}) => {
  const { profile = null, streamingHeads = null, rule = "lowest" } = options;
  const made = profile?.settings as
    | { readonly sinks?: number; readonly recent?: number }
    | undefined;
  const { sinks = made?.sinks ?? 128, recent = made?.recent ?? 256, interval = 16 } = options;
  return definePolicy({
    name: "duo-attention",
    paper: "arXiv:2410.10819",
    scorer: position(),
    budget: duoAttentionBudget({ profile, streamingHeads, rule }),
    selector: topK(),
    trigger: { prefill: true, interval, pressure: true },
    protect: { sinks, recent },
    queryAware: false,
    options: { profile: profileIdentity(profile), streamingHeads, rule, sinks, recent, interval },
  });
};
