import {
  type KvComposeBudgetOptions,
  kvCompose as kvComposeBudget,
} from "@kvcache/budget-kv-compose";
import { definePolicy } from "@kvcache/core";
import { type SecondPassAttentionOptions, secondPassAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface KvComposeOptions extends SecondPassAttentionOptions, KvComposeBudgetOptions {}

/**
 * KVCompose — every head keeps its own best tokens, every layer what its composite tokens are worth.
 * The context is read a second time; a token scores the attention that it gets then, and layers share
 * one total by the mean of their heads' k-th best tokens.
 * Akulov et al. 2025, arXiv:2509.05165. Differs from the paper: none known beyond kvpress, whose
 * weighing by value norms fails where ours works; every head keeps at least one token.
 */
export const kvCompose = (options: KvComposeOptions = {}) => {
  const resolved = {
    structured: true,
    aggregateQueries: "max",
    aggregateGroup: "mean",
    aggregateHeads: "mean",
    valueNorm: false,
    addHeadMean: true,
    minimumTokens: 0,
    ...options,
  } as const;
  const { structured, aggregateHeads, minimumTokens, ...scoring } = resolved;
  const { aggregateQueries, aggregateGroup, valueNorm, addHeadMean } = scoring;
  return definePolicy({
    name: "kv-compose",
    paper: "arXiv:2509.05165",
    scorer: secondPassAttention({ aggregateQueries, aggregateGroup, valueNorm, addHeadMean }),
    budget: kvComposeBudget({ structured, aggregateHeads, minimumTokens }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent: 0 },
    queryAware: false,
    options: resolved,
  });
};
