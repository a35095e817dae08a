import type { DecoderGraph, WeightSource, WeightTensor } from "@kvcache/core";
import { buildGraph, parseConfig, resolveTies } from "@kvcache/decoder";
import { randomFloats, randomNumbers } from "./random.ts";

const small = {
  hidden_size: 24,
  intermediate_size: 40,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  vocab_size: 61,
  max_position_embeddings: 256,
};

/** Small models that between them use every node and every option of a graph. */
export const randomModels: Readonly<Record<string, object>> = {
  "grouped queries, tied embeddings": {
    ...small,
    architectures: ["LlamaForCausalLM"],
    tie_word_embeddings: true,
  },
  "one KV head, biases": {
    ...small,
    architectures: ["Qwen2ForCausalLM"],
    num_key_value_heads: 1,
    num_hidden_layers: 2,
  },
  "as many KV heads as query heads, norms of queries and keys": {
    ...small,
    architectures: ["Qwen3ForCausalLM"],
    num_key_value_heads: 4,
    num_hidden_layers: 2,
  },
  "sliding window, fused projections": {
    ...small,
    architectures: ["Phi3ForCausalLM"],
    sliding_window: 12,
    pad_token_id: 0,
  },
  "softcaps, alternating windows": {
    ...small,
    architectures: ["Gemma2ForCausalLM"],
    sliding_window: 9,
    query_pre_attn_scalar: 8,
  },
};

export interface RandomModel {
  readonly graph: DecoderGraph;
  readonly weights: WeightSource;
}

/** A graph of that configuration with random weights. */
export function randomModel(config: object, seed: number): RandomModel {
  const parsed = parseConfig(config as Parameters<typeof parseConfig>[0]);
  const graph = buildGraph(resolveTies(parsed, (name) => name !== "lm_head.weight"));
  const tensors = new Map<string, WeightTensor>();
  for (const [name, shape] of weightShapes(graph)) {
    const random = randomNumbers(seed + tensors.size);
    const numbers = shape.reduce((product, size) => product * size, 1);
    const values =
      shape.length === 2
        ? randomFloats(random, numbers, shape[1]! ** -0.5)
        : randomFloats(random, numbers, 0.3).map((value) => 0.5 + value);
    tensors.set(name, {
      dtype: "f32",
      shape,
      data: new Uint8Array(values.buffer),
    });
  }
  return {
    graph,
    weights: { has: (name) => tensors.has(name), get: (name) => tensors.get(name)! },
  };
}

/** Stored shapes of the tensors that a graph reads. */
function weightShapes({ nodes, shape, hiddenSize, vocabSize }: DecoderGraph) {
  const shapes = new Map<string, number[]>();
  // Norms that feed a rotation or attention are over single heads.
  const perHead = new Set(
    nodes.flatMap((node) =>
      node.op === "rope"
        ? [node.input]
        : node.op === "pagedAttention"
          ? [node.query, node.key]
          : [],
    ),
  );
  for (const node of nodes) {
    if (node.op === "embed") shapes.set(node.weight.name, [vocabSize, hiddenSize]);
    if (node.op === "rmsNorm")
      shapes.set(node.weight.name, [perHead.has(node.out) ? shape.headDim : hiddenSize]);
    if (node.op !== "linear") continue;
    const rows = node.weight.rows?.[1] ?? node.outFeatures;
    const known = shapes.get(node.weight.name)?.[0] ?? 0;
    shapes.set(node.weight.name, [Math.max(known, rows), node.inFeatures]);
    if (node.bias) shapes.set(node.bias.name, [node.outFeatures]);
  }
  return shapes;
}
