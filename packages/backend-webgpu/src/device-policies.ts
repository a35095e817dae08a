import type { EvictionPolicy, KvBatch, ModelView } from "@kvcache/core";
import {
  adaKV,
  expectedAttention,
  h2o,
  keyDiff,
  knorm,
  kvCompress,
  layerDefensiveKV,
  pyramidKV,
  snapKV,
  streamingLLM,
  tova,
} from "@kvcache/policies";
import { numbers } from "./test-gpu.ts";

const hiddenSize = 24;
/** A model whose weights every run makes alike. */
export const modelOf = ({ shape }: KvBatch): ModelView => {
  const width = shape.numQueryHeads * shape.headDim;
  const weights = Array.from({ length: shape.numLayers }, (_, layer) =>
    numbers(hiddenSize * width, layer + 3),
  );
  return {
    hiddenSize,
    rope: () => ({
      ...{ theta: 10_000, dim: shape.headDim, maxPositions: 256 },
      scaling: { type: "default" },
    }),
    outputWeight: (layer) => weights[layer]!,
  };
};

const statistics = {
  model: "test",
  fingerprint: "test",
  shape: [3, 4, 8] as const,
  means: numbers(3 * 4 * 8, 5),
  covariances: numbers(3 * 4 * 64, 6).map((x, i) => (i % 9 === 0 ? 1 : 0.1) * Math.abs(x)),
  count: 1,
};

/**
 * Policies whose events run on the device from scores to kept slots. `full` has no event, and what
 * expected attention knows of queries comes from the host, here from a file.
 */
export const devicePolicies: Readonly<Record<string, EvictionPolicy>> = {
  "streaming-llm": streamingLLM(),
  "snap-kv": snapKV({ window: 8 }),
  "ada-kv": adaKV({ window: 8 }),
  "ada-kv, authors": adaKV({ window: 8, variant: "authors" }),
  "pyramid-kv": pyramidKV({ window: 4 }),
  "pyramid-kv, KVCache-Factory": pyramidKV({ window: 4, variant: "kvcache-factory" }),
  "kv-compress": kvCompress({ observed: 8, protectedWindow: 5 }),
  knorm: knorm(),
  "key-diff": keyDiff(),
  "expected-attention": expectedAttention({ statistics }),
  tova: tova(),
  h2o: h2o(),
  "layer-defensive-kv": layerDefensiveKV({ window: 4 }),
};
