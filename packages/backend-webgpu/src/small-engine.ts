import {
  type Backend,
  type CacheManager,
  type CachePlan,
  cacheLayout,
  type EvictionPolicy,
} from "@kvcache/core";
import { createEngine, type Engine, type EngineOptions } from "@kvcache/engine";
import { createPagedCache } from "@kvcache/paged";
import { expect } from "vitest";
import { smallModel } from "./small-model.ts";

export const eviction = (policy: EvictionPolicy, ratio: number): CachePlan => ({
  eviction: { policy, target: { ratio } },
});

export interface SmallEngine {
  readonly engine: Engine;
  readonly cache: CacheManager;
  /**
   * The likeliest answer to the prompt of that number, of 40 tokens and more, 8 tokens long where
   * nobody says more; `gaps` stay empty without logprobs.
   */
  ask(number: number, plan: CachePlan, maxTokens?: number, logprobs?: boolean): Promise<Answer>;
  dispose(): Promise<void>;
}

export interface Answer {
  readonly ids: readonly number[];
  /** How far the second-best token was away, at each of them. */
  readonly gaps: readonly number[];
  readonly tokensKept: number;
}

/** An engine of the small model on a backend. */
export async function smallEngine(
  backend: Backend,
  options: Pick<EngineOptions, "scheduler" | "trace"> = {},
  memory: { readonly memoryBytes: number } | { readonly numBlocks: number } = {
    memoryBytes: 2 ** 20,
  },
): Promise<SmallEngine> {
  const { graph, weights } = smallModel();
  const cacheOptions = {
    layout: cacheLayout(graph.shape, { blockSize: 4 }),
    maxSequences: 8,
    maxTokensPerSequence: 96,
    windowSize: 32,
    ...memory,
  };
  const cache = (await backend.createCache?.(cacheOptions)) ?? createPagedCache(cacheOptions);
  const model = {
    name: "small",
    graph,
    weights,
    tokenizer: undefined,
    generationConfig: { eosTokenIds: [], maxNewTokens: 8 },
    fingerprint: "small",
  };
  const engine = await createEngine({ model, backend, cache, prefixCache: false, ...options });
  return {
    engine,
    cache,
    async ask(number, plan, maxTokens = 8, logprobs = true) {
      const ids: number[] = [];
      const gaps: number[] = [];
      const stream = engine.generate({
        prompt: Int32Array.from({ length: 40 + 3 * number }, (_, k) => (11 * k + 5 * number) % 61),
        plan,
        maxTokens,
        stop: { ignoreEos: true },
        sampling: { temperature: 0 },
        ...(logprobs && { logprobs: 2 }),
      });
      for await (const event of stream)
        if (event.type === "token") {
          ids.push(event.tokenId);
          const [best, second] = event.topLogprobs ?? [];
          if (logprobs) gaps.push(best!.logprob - second!.logprob);
        }
      return { ids, gaps, tokensKept: (await stream.result).kv.tokensKept };
    },
    async dispose() {
      await engine.dispose();
      cache.dispose();
    },
  };
}

/**
 * Tokens agree up to the first near-tie, behind which two runs may read different texts. Returns how
 * many were compared.
 */
export function expectSame(got: Answer, expected: Answer, what: string): number {
  const near = expected.gaps.findIndex((gap) => gap < 1e-3);
  const end = near < 0 ? expected.ids.length : near;
  expect(got.ids.slice(0, end), what).toEqual(expected.ids.slice(0, end));
  expect(got.tokensKept, what).toBe(expected.tokensKept);
  return end;
}
