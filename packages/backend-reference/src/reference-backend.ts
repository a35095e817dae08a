import {
  type Backend,
  type BackendSession,
  type CacheManager,
  type DecoderGraph,
  type HostCache,
  KvCacheError,
  type KvShape,
  type LoadedModel,
  type LoadOptions,
  type StepInput,
  type WeightSource,
} from "@kvcache/core";
import { createHostEncoder } from "@kvcache/kernels";
import { forward } from "./forward.ts";
import { loadWeights } from "./weights.ts";

/**
 * A backend in plain TypeScript, in this process: float32 storage, float64 accumulation, one thread.
 * It gives the event loop a turn every 20 ms or so. Weights are kept as float32.
 */
export function createReferenceBackend(): Backend {
  const sessions = new Set<BackendSession>();
  return Object.freeze<Backend>({
    name: "reference",
    description: "reference: TypeScript interpreter, float32 storage, float64 sums, 1 thread",
    signals: [
      "windowQueries",
      "attentionSums",
      "chunkQueries",
      "queryStatistics",
      "hidden",
      "headOutputs",
      "replay",
      "blockBounds",
      "outputWeight",
    ],
    attach(cache: CacheManager): BackendSession {
      if (!cache.host)
        throw new KvCacheError(
          "unsupported",
          "The reference backend needs a cache in host memory, this one lives on a device.",
          { remedy: "Attach the cache manager of @kvcache/paged." },
        );
      const session = attach(cache.host);
      sessions.add(session);
      return session;
    },
    async dispose() {
      for (const session of sessions) await session.dispose();
      sessions.clear();
    },
  });
}

function attach(cache: HostCache): BackendSession {
  let disposed = false;
  // One writer at a time: models of a session share its cache.
  let running = false;
  const checkAlive = (what: string, alive: boolean) => {
    if (!alive) throw new KvCacheError("disposed", `This ${what} was disposed.`);
  };
  return {
    async load(graph: DecoderGraph, source: WeightSource, options: LoadOptions = {}) {
      checkAlive("session", !disposed);
      const { weightFormat = "f32", taps = [] } = options;
      if (weightFormat !== "f32")
        throw new KvCacheError(
          "unsupported",
          `The reference backend keeps weights as f32, not as ${weightFormat}.`,
          { value: weightFormat, remedy: "Use weightFormat f32, or another backend." },
        );
      checkShapes(graph.shape, cache.layout.shape);
      checkTaps(graph, taps);
      const weights = loadWeights(graph, source, options);
      let unloaded = false;
      const model: LoadedModel = {
        async forward(step: StepInput, wanted?: Map<string, Float32Array>) {
          checkAlive("session", !disposed);
          checkAlive("model", !unloaded);
          if (running)
            throw new KvCacheError("invalid-argument", "A forward pass is running already.", {
              remedy: "Await one forward pass before starting the next.",
            });
          running = true;
          try {
            const named = wanted ? taps : [];
            const { logits, tapped } = await forward(graph, weights, cache, step, named);
            for (const [i, name] of named.entries()) wanted?.set(name, tapped[i]!);
            return logits;
          } finally {
            running = false;
          }
        },
        async dispose() {
          unloaded = true;
        },
      };
      return model;
    },
    encoder() {
      checkAlive("session", !disposed);
      return createHostEncoder();
    },
    fallbacks: () => new Map(),
    async dispose() {
      disposed = true;
    },
  };
}

function checkTaps({ nodes }: DecoderGraph, taps: readonly string[]): void {
  for (const name of taps)
    if (!nodes.some(({ out }) => out === name))
      throw new KvCacheError("invalid-argument", `The graph has no value ${name} to tap.`, {
        value: name,
      });
}

function checkShapes(model: KvShape, cache: KvShape): void {
  for (const key of ["numLayers", "numQueryHeads", "numKvHeads", "headDim"] as const)
    if (model[key] !== cache[key])
      throw new KvCacheError(
        "invalid-argument",
        `The model has ${key} ${model[key]}, the cache ${cache[key]}.`,
        { value: cache[key], remedy: "Create the cache with the shape of the model." },
      );
}
