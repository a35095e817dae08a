import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createOrtBackend } from "@kvcache/backend-ort";
import {
  type Backend,
  blockBytes,
  blocksFor,
  type CachePlan,
  cacheLayout,
  type EvictionPolicy,
  numRows,
  sum,
} from "@kvcache/core";
import { loadModel } from "@kvcache/decoder";
import {
  createEngine,
  createRunner,
  type Engine,
  type ServedModel,
  type TokenEvent,
  type TraceEvent,
} from "@kvcache/engine";
import { compact, gatherKeys, gatherValues, rowView } from "@kvcache/kernels";
import { demoDocumentUrl, modelUrl } from "@kvcache/model-tiny";
import { createPagedCache, type PagedCache } from "@kvcache/paged";
import { policies, policyNames } from "@kvcache/policies";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DenseCache, denseLlama } from "./test-dense-llama.ts";
import { randomLlama } from "./test-llama.ts";
import { methodOptions } from "./test-method-options.ts";

// Every policy there is, six sequences at once: three ratios, compressed once and while decoding.
// The shipped model with prompts of 2000 tokens where slow tests run, else a small random one.
const slow = process.env.KVCACHE_SLOW_TESTS === "1";
const promptLengths = slow ? [2048, 2000, 1931] : [700, 650, 611];
const ratios = [0.5, 0.2, 0.1] as const;
const moments = {
  "prefill only": { prefill: true, pressure: false },
  decoding: { prefill: true, interval: 3, pressure: false },
} as const;
const newTokens = 8;
const blockSize = 16;

/** What a plan is refused for, by policy: pairs that cannot work together, each for its reason. */
const refusals: Readonly<Record<string, RegExp>> = {
  finch: /^decoding.*renumbers positions/,
};

type CompressEvent = Extract<TraceEvent, { type: "compress" }>;

if (!slow)
  console.log(
    "skipped: every policy on the shipped model with 2000 tokens (KVCACHE_SLOW_TESTS=1 runs them)",
  );

describe("every policy on onnxruntime", () => {
  let model: ServedModel;
  let backend: Backend;
  let cache: PagedCache;
  let engine: Engine;
  let prompts: readonly (readonly number[])[];
  let prefilled: readonly DenseCache[];
  const events: TraceEvent[] = [];
  /** The engine numbers its sequences as they come. */
  let numRequests = 0;

  beforeAll(async () => {
    backend = await createOrtBackend({ mode: "auto" });
    const shipped = await loadModel(fileURLToPath(modelUrl));
    model = slow ? shipped : randomLlama(shipped.tokenizer!);
    prompts = slow ? documentPrompts(model) : promptLengths.map(randomPrompt);
    prefilled = await prefill(model, backend, prompts);
    cache = cacheFor(model, 2 * ratios.length);
    engine = await createEngine({
      model,
      backend,
      cache,
      // Long prompts are read once where policies may share them: each still compresses its own copy.
      prefixCache: slow,
      signals: backend.signals,
      trace: { positions: true, sink: (event) => events.push(event) },
    });
  }, 120_000);
  afterAll(async () => {
    await engine.dispose();
    await backend.dispose();
    cache.dispose();
  });

  const make = (name: string): EvictionPolicy => {
    const { shape, hiddenSize } = model.graph;
    const factory = policies[name as keyof typeof policies] as (options: object) => EvictionPolicy;
    return factory(methodOptions(shape, hiddenSize)[name] ?? {});
  };
  const cases = Object.entries(moments).flatMap(([moment, trigger]) =>
    ratios.map((ratio, i) => ({ moment, trigger, ratio, prompt: i })),
  );

  for (const name of policyNames)
    it(
      name,
      async () => {
        const made = make(name);
        events.length = 0;
        const first = numRequests;
        const runs = await Promise.all(
          cases.map(async ({ moment, trigger, ratio, prompt }) => {
            const policy: EvictionPolicy = { ...made, trigger };
            // What decides itself how much stays takes no other target.
            const target = { ratio: made.budget.withoutTarget === undefined ? ratio : 1 };
            const plan: CachePlan = { eviction: { policy, target } };
            const title = `${moment}, ratio ${target.ratio}, ${prompts[prompt]!.length} tokens`;
            const sequence = numRequests;
            try {
              const tokens: TokenEvent[] = [];
              const stream = engine.generate({
                prompt: prompts[prompt]!,
                plan,
                maxTokens: newTokens,
                stop: { ignoreEos: true },
                logprobs: 4,
              });
              numRequests++;
              for await (const event of stream) if (event.type === "token") tokens.push(event);
              const { kv } = await stream.result;
              return { policy, plan, title, prompt, sequence, tokens, bytes: kv.bytesNow };
            } catch (error) {
              if (refusals[name]?.test(`${title}: ${(error as Error).message}`)) return undefined;
              throw new Error(`${title}: ${(error as Error).message}`, { cause: error });
            }
          }),
        );
        expect(numRequests - first).toBeGreaterThan(0);
        for (const run of runs) {
          if (!run) continue;
          const own = events.filter(
            (event): event is CompressEvent =>
              event.type === "compress" && event.sequence === run.sequence,
          );
          expect(own.length, run.title).toBe(run.policy.trigger.interval ? 3 : 1);
          checkMemory(run.policy, run.plan, run.bytes, prompts[run.prompt]!.length, own, run.title);
          // A transform rewrites what is kept, on purpose.
          if (run.policy.transform) continue;
          checkTokens(
            model,
            prefilled[run.prompt]!,
            prompts[run.prompt]!,
            run.tokens,
            own,
            run.title,
          );
        }
      },
      slow ? 900_000 : 60_000,
    );

  /** The pool holds what the plan resolves to, in whole blocks, and nothing else. */
  function checkMemory(
    { budget, protect, transform }: EvictionPolicy,
    { eviction }: CachePlan,
    bytes: number,
    promptLength: number,
    own: readonly CompressEvent[],
    title: string,
  ): void {
    const { layout } = cache;
    const { target } = eviction!;
    let lengths = new Uint32Array(numRows(layout.shape));
    let seen = 0;
    let next = 0;
    for (const { tokens, kept } of own) {
      const before = lengths.map((length) => length + tokens - seen);
      next += tokens - seen;
      const request = { target, lengths: before, nextPosition: next, layout, protect };
      const promised = budget.resolve(request);
      expect(sum(kept), `${title}: entries kept at ${tokens}`).toBeLessThanOrEqual(promised);
      lengths = Uint32Array.from(kept);
      seen = tokens;
      next = transform?.nextPosition?.(Math.max(...kept), next) ?? next;
    }
    const after = promptLength + newTokens - 1 - seen;
    const blocks = lengths.reduce((all, length) => all + blocksFor(length + after, blockSize), 0);
    expect(bytes, `${title}: bytes of the pool`).toBe(blocks * blockBytes(layout.arenas[0]!));
  }
});

/** Each token's log-probabilities are those of dense attention over what was kept. */
function checkTokens(
  model: ServedModel,
  { keys, values }: DenseCache,
  prompt: readonly number[],
  tokens: readonly TokenEvent[],
  own: readonly CompressEvent[],
  title: string,
): void {
  const oracle = denseLlama(model);
  const dense = { keys: keys.map((k) => k.slice()), values: values.map((v) => v.slice()) };
  const keptSets = own.map(({ positions }) => positions!.map((row) => new Set(row)));
  tokens.slice(0, -1).forEach(({ tokenId }, i) => {
    const position = prompt.length + i;
    const at = own.findLastIndex((event) => event.tokens <= position);
    const logprobs = oracle.step(dense, tokenId, position, (row, other) =>
      other >= own[at]!.tokens ? true : keptSets[at]![row]!.has(other),
    );
    for (const { tokenId: id, logprob } of tokens[i + 1]!.topLogprobs!)
      expect(Math.abs(logprob - logprobs[id]!), `${title}: token ${i + 1}`).toBeLessThanOrEqual(
        1e-3,
      );
  });
}

/** Keys and values of whole prompts, with room for new tokens. */
async function prefill(
  model: ServedModel,
  backend: Backend,
  prompts: readonly (readonly number[])[],
): Promise<DenseCache[]> {
  const { numLayers, numKvHeads, headDim } = model.graph.shape;
  const cache = cacheFor(model, prompts.length);
  const runner = await createRunner({ model, backend, cache });
  const dense: DenseCache[] = [];
  for (const prompt of prompts) {
    const sequence = runner.open();
    await sequence.prefill(prompt);
    const width = numKvHeads * headDim;
    const interleaved = (gather: typeof gatherKeys) =>
      Array.from({ length: numLayers }, (_, layer) => {
        const all = new Float32Array((prompt.length + newTokens) * width);
        for (let head = 0; head < numKvHeads; head++) {
          const row = gather(rowView(cache.host, sequence.slot, layer, head));
          for (let position = 0; position < prompt.length; position++)
            all.set(
              row.subarray(position * headDim, (position + 1) * headDim),
              position * width + head * headDim,
            );
        }
        return all;
      });
    dense.push({ keys: interleaved(gatherKeys), values: interleaved(gatherValues) });
    sequence.close();
  }
  await runner.dispose();
  cache.dispose();
  return dense;
}

/** Room for that many sequences, and for replay passes that repeat the longest of them. */
function cacheFor({ graph }: ServedModel, maxSequences: number): PagedCache {
  const tokens = 2 * promptLengths[0]! + 512;
  return createPagedCache({
    layout: cacheLayout(graph.shape, { blockSize }),
    maxSequences,
    maxTokensPerSequence: tokens,
    numBlocks: numRows(graph.shape) * (maxSequences + 1) * blocksFor(tokens, blockSize),
    windowSize: 128,
    compaction: compact,
  });
}

function documentPrompts(model: ServedModel): number[][] {
  const ids = model.tokenizer!.encode(readFileSync(demoDocumentUrl, "utf8"));
  return promptLengths.map((length, i) => Array.from(ids.subarray(i * 2100, i * 2100 + length)));
}

const randomPrompt = (length: number): number[] =>
  Array.from({ length }, (_, i) => ((i * 7919 + length * 31) ^ (i >> 3)) % 97);
