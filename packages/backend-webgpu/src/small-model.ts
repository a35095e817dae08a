import type { CacheManager, DecoderGraph, StepInput, WeightSource } from "@kvcache/core";
import { buildGraph, parseConfig, resolveTies } from "@kvcache/decoder";
import { numbers } from "./test-gpu.ts";

/** A Llama of three small layers with weights that every run makes alike. */
export function smallModel({
  layers = 3,
  queryHeads = 4,
  kvHeads = 2,
  headDim = 8,
  hiddenSize = 24,
} = {}): { readonly graph: DecoderGraph; readonly weights: WeightSource } {
  const config = {
    architectures: ["LlamaForCausalLM"],
    hidden_size: hiddenSize,
    intermediate_size: 40,
    num_hidden_layers: layers,
    num_attention_heads: queryHeads,
    num_key_value_heads: kvHeads,
    head_dim: headDim,
    vocab_size: 61,
    max_position_embeddings: 256,
    tie_word_embeddings: true,
  };
  const parsed = parseConfig(config as Parameters<typeof parseConfig>[0]);
  const graph = buildGraph(resolveTies(parsed, (name) => name !== "lm_head.weight"));
  const shapes = new Map<string, readonly number[]>();
  for (const node of graph.nodes) {
    if (node.op === "embed") shapes.set(node.weight.name, [graph.vocabSize, graph.hiddenSize]);
    if (node.op === "rmsNorm") shapes.set(node.weight.name, [graph.hiddenSize]);
    if (node.op === "linear") shapes.set(node.weight.name, [node.outFeatures, node.inFeatures]);
  }
  const names = [...shapes.keys()];
  const weights: WeightSource = {
    has: (name) => shapes.has(name),
    get(name) {
      const shape = shapes.get(name)!;
      const values = numbers(
        shape.reduce((a, b) => a * b, 1),
        names.indexOf(name) + 1,
      ).map((x) => (shape.length === 1 ? 1 + 0.3 * x : x * 1.7 * shape[1]! ** -0.5));
      return { dtype: "f32", shape, data: new Uint8Array(values.buffer) };
    },
  };
  return { graph, weights };
}

export interface Share {
  readonly sequence: number;
  readonly tokens: readonly number[];
  /** Bits of `signalFlag`. */
  readonly flags?: number;
}

/** Appends to the sequences and describes the step; logits of every token. */
export function step(cache: CacheManager, shares: readonly Share[]): StepInput {
  const cuTokens = [0];
  const positions: number[] = [];
  const ropeLengths: number[] = [];
  for (const { sequence, tokens } of shares) {
    const first = cache.sequenceStats(sequence).nextPosition;
    cache.append(sequence, tokens.length);
    tokens.forEach((_, i) => {
      positions.push(first + i);
      ropeLengths.push(first + tokens.length);
    });
    cuTokens.push(positions.length);
  }
  return {
    tokenIds: Int32Array.from(shares.flatMap(({ tokens }) => tokens)),
    positions: Int32Array.from(positions),
    ropeLengths: Int32Array.from(ropeLengths),
    cuTokens: Int32Array.from(cuTokens),
    sequences: Int32Array.from(shares, ({ sequence }) => sequence),
    logitIndices: Int32Array.from(positions, (_, i) => i),
    signalFlags: Int32Array.from(shares, ({ flags = 0 }) => flags),
    attentionBuffers: new Int32Array(shares.length),
  };
}
