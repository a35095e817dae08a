import { KvCacheError } from "@kvcache/core";
import type { Runner } from "@kvcache/engine";
import { negativeLogLikelihood } from "./log-likelihood.ts";

export interface PerplexityOptions {
  /** Tokens of a window, the first of them `bosTokenId`. Default 2048. */
  readonly window?: number;
  /** Begins every window. */
  readonly bosTokenId?: number;
  readonly onWindow?: (done: number, total: number) => void;
}

export interface Perplexity {
  readonly window: number;
  /** Tokens that were predicted. */
  readonly tokens: number;
  readonly nllPerToken: number;
  readonly perplexity: number;
}

/**
 * Perplexity of a text's tokens over disjoint windows, full cache: exp of the mean −log p of every
 * token but each window's first.
 */
export async function perplexity(
  runner: Runner,
  tokenIds: ArrayLike<number>,
  { window = 2048, bosTokenId, onWindow }: PerplexityOptions = {},
): Promise<Perplexity> {
  if (!Number.isSafeInteger(window) || window < 2)
    throw new KvCacheError("invalid-argument", `window must be at least 2 tokens, got ${window}.`, {
      value: window,
    });
  const own = bosTokenId === undefined ? window : window - 1;
  const total = Math.ceil(tokenIds.length / own);
  let nll = 0;
  let tokens = 0;
  for (let i = 0; i < total; i++) {
    const ids = Array.from({ length: Math.min(own, tokenIds.length - i * own) }, (_, j) =>
      Number(tokenIds[i * own + j]),
    );
    if (bosTokenId !== undefined) ids.unshift(bosTokenId);
    if (ids.length > 1) {
      const sequence = runner.open();
      try {
        const logits = await sequence.prefill(ids, "all");
        nll += negativeLogLikelihood(logits, ids.slice(1), runner.runtime.model.graph.vocabSize);
        tokens += ids.length - 1;
      } finally {
        sequence.close();
      }
    }
    onWindow?.(i + 1, total);
  }
  return { window, tokens, nllPerToken: nll / tokens, perplexity: Math.exp(nll / tokens) };
}
