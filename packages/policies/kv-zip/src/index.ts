import { type KvZipBudgetOptions, kvZip as kvZipBudget } from "@kvcache/budget-kv-zip";
import { checkOneOf, definePolicy, KvCacheError } from "@kvcache/core";
import { type RepeatAttentionOptions, repeatAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface KvZipOptions
  extends Pick<RepeatAttentionOptions, "sinks" | "chunk">,
    Pick<KvZipBudgetOptions, "headScores"> {
  /** Whose arithmetic: authors' sinks are the system prompt, kept beside the budget. */
  readonly variant?: "kvpress" | "authors";
  /**
   * `pair` (default): all layers and heads share one total; `pair-uniform`: each head keeps the same;
   * `head`: the best heads keep everything, the others sinks and recent tokens.
   */
  readonly level?: "pair" | "pair-uniform" | "head";
  /** Each layer keeps the same total; variant kvpress, level pair. */
  readonly layerwise?: boolean;
  /** Last tokens that stay. Default 0, with level head 128. */
  readonly recent?: number;
}

/**
 * KVzip — keep what the model needs to repeat its own context.
 * The context is fed back chunk by chunk; a token scores the most attention that any query of the
 * pass pays to it, and the best of all layers and heads stay. Two to three times the prefill's cost.
 * Kim et al. 2025, arXiv:2505.23416. Differs from the paper: every head keeps at least one token;
 * kvpress (default) counts sinks inside the budget, chunks of 2048 instead of 2000.
 */
export const kvZip = (options: KvZipOptions = {}) => {
  const { variant = "kvpress", sinks = 4, level = "pair", layerwise = false } = options;
  const { chunk = variant === "authors" ? 2000 : 2048, recent = level === "head" ? 128 : 0 } =
    options;
  const { headScores = null } = options;
  checkOneOf("variant", variant, ["kvpress", "authors"]);
  checkOneOf("level", level, ["pair", "pair-uniform", "head"]);
  if (layerwise && (variant === "authors" || level !== "pair"))
    throw new KvCacheError("invalid-argument", "layerwise goes with variant kvpress, level pair.", {
      value: { variant, level },
      remedy: "Leave layerwise out, or use the level pair of kvpress.",
    });
  const scope = {
    pair: layerwise ? "layer" : "model",
    "pair-uniform": "row",
    head: "head",
  } as const;
  const authors = variant === "authors";
  return definePolicy({
    name: "kv-zip",
    paper: "arXiv:2505.23416",
    scorer: repeatAttention({ sinks, chunk, from: authors ? "sinks" : "chat-prefix" }),
    budget: kvZipBudget({
      scope: scope[level],
      threshold: authors ? "strict" : "count",
      headScores,
    }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks, recent },
    queryAware: false,
    options: { variant, sinks, chunk, level, layerwise, recent, headScores },
  });
};
