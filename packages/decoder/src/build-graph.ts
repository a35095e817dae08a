import type { DecoderGraph, GraphNode, WeightRef } from "@kvcache/core";
import type { DecoderConfig } from "./config/decoder-config.ts";

/**
 * The decoder, top-down: Llama, Mistral, Qwen 2 and 3, Phi 3, Gemma 2 and 3, Granite, SmolLM 3.
 * References: the models' code in transformers 5. T = tokens of the step, D = hiddenSize,
 * Hq, H = query and KV heads, d = headDim, F = intermediateSize, V = vocabSize.
 */
export function buildGraph(config: DecoderConfig): DecoderGraph {
  const { numLayers, numQueryHeads, numKvHeads, headDim, hiddenSize, vocabSize } = config;
  const g = graphWriter(config);

  let x = g.embed("embedding", config.embeddingWeight, config.embeddingScale); // [T, D]
  for (let layer = 0; layer < numLayers; layer++) x = block(g, config, layer, x); // [T, D]
  x = g.gather("last", x); // [N, D]: only rows whose logits are wanted
  x = g.norm("final", x, "model.norm"); // [N, D]
  x = g.linear("head", x, { name: config.headWeight }, hiddenSize, vocabSize); // [N, V]
  const output = g.logits("logits", x); // [N, V]

  return Object.freeze({
    shape: Object.freeze({ numLayers, numQueryHeads, numKvHeads, headDim }),
    hiddenSize,
    vocabSize,
    maxPositions: config.maxPositions,
    ropes: config.ropes,
    slidingWindow: config.slidingWindow,
    nodes: Object.freeze(g.nodes),
    output,
  });
}

/** Two branches on the residual stream. Gemma norms them at both ends. x [T, D] → [T, D]. */
function block(g: GraphWriter, config: DecoderConfig, layer: number, x: string): string {
  const at = `model.layers.${layer}`;
  const value = (name: string) => `${layer}.${name}`;
  const { sandwichNorms } = config;

  let a = g.norm(value("attentionInput"), x, `${at}.input_layernorm`); // [T, D]
  a = attention(g, config, layer, a); // [T, D]
  if (sandwichNorms) a = g.norm(value("attentionNormed"), a, `${at}.post_attention_layernorm`);
  x = g.add(value("attentionResidual"), x, a); // [T, D]

  // Llama calls the norm before the MLP "post attention"; Gemma has that one after attention.
  const mlpNorm = sandwichNorms ? "pre_feedforward_layernorm" : "post_attention_layernorm";
  let m = g.norm(value("mlpInput"), x, `${at}.${mlpNorm}`); // [T, D]
  m = mlp(g, config, layer, m); // [T, D]
  if (sandwichNorms) m = g.norm(value("mlpNormed"), m, `${at}.post_feedforward_layernorm`);
  return g.add(value("mlpResidual"), x, m); // [T, D]
}

/** Grouped-query attention over the paged cache. x [T, D] → [T, D]. */
function attention(g: GraphWriter, config: DecoderConfig, layer: number, x: string): string {
  const { numQueryHeads, numKvHeads, headDim, hiddenSize } = config;
  const at = `model.layers.${layer}.self_attn`;
  const value = (name: string) => `${layer}.${name}`;
  const queryWidth = numQueryHeads * headDim;
  const keyWidth = numKvHeads * headDim;

  const project = (name: string, letter: string, firstRow: number, width: number) =>
    config.fusedProjections
      ? g.linear(
          value(name),
          x,
          rowsOf(`${at}.qkv_proj.weight`, firstRow, width),
          hiddenSize,
          width,
        )
      : g.linear(
          value(name),
          x,
          { name: `${at}.${letter}_proj.weight` },
          hiddenSize,
          width,
          config.queryKeyValueBias ? { name: `${at}.${letter}_proj.bias` } : undefined,
        );
  let q = project("query", "q", 0, queryWidth); // [T, Hq·d]
  let k = project("key", "k", queryWidth, keyWidth); // [T, H·d]
  const v = project("value", "v", queryWidth + keyWidth, keyWidth); // [T, H·d]

  if (config.queryKeyNorm) {
    q = g.norm(value("queryNormed"), q, `${at}.q_norm`); // over d values of each head
    k = g.norm(value("keyNormed"), k, `${at}.k_norm`);
  }
  const table = config.ropeOfLayer[layer];
  if (table !== undefined) {
    q = g.rope(value("queryRotated"), q, table, numQueryHeads); // [T, Hq·d]
    k = g.rope(value("keyRotated"), k, table, numKvHeads); // [T, H·d]
  }
  const mixed = g.pagedAttention(value("attention"), q, k, v, layer); // [T, Hq·d]
  return g.linear(
    value("attentionOutput"),
    mixed,
    { name: `${at}.o_proj.weight` },
    queryWidth,
    hiddenSize,
    config.outputBias ? { name: `${at}.o_proj.bias` } : undefined,
  ); // [T, D]
}

/** down(activation(gate(x)) × up(x)). x [T, D] → [T, D]. */
function mlp(g: GraphWriter, config: DecoderConfig, layer: number, x: string): string {
  const { hiddenSize, intermediateSize } = config;
  const at = `model.layers.${layer}.mlp`;
  const value = (name: string) => `${layer}.${name}`;
  const bias = (name: string) => (config.mlpBias ? { name: `${at}.${name}.bias` } : undefined);

  const expand = (name: string, firstRow: number) =>
    g.linear(
      value(name),
      x,
      config.fusedProjections
        ? rowsOf(`${at}.gate_up_proj.weight`, firstRow, intermediateSize)
        : { name: `${at}.${name}_proj.weight` },
      hiddenSize,
      intermediateSize,
      bias(`${name}_proj`),
    );
  const gate = expand("gate", 0); // [T, F]
  const up = expand("up", intermediateSize); // [T, F]
  const inner = g.gatedActivation(value("inner"), gate, up); // [T, F]
  const down = { name: `${at}.down_proj.weight` };
  return g.linear(value("mlp"), inner, down, intermediateSize, hiddenSize, bias("down_proj"));
}

const rowsOf = (name: string, first: number, count: number): WeightRef => ({
  name,
  rows: [first, first + count],
});

type GraphWriter = ReturnType<typeof graphWriter>;

/** Appends nodes; each call returns the name of the value that its node writes. */
function graphWriter(config: DecoderConfig) {
  const nodes: GraphNode[] = [];
  const write = (node: GraphNode): string => {
    nodes.push(Object.freeze(node));
    return node.out;
  };
  return {
    nodes,
    embed: (out: string, name: string, scale: number) =>
      write({ op: "embed", out, weight: { name }, scale }),
    norm: (out: string, input: string, name: string) =>
      write({
        op: "rmsNorm",
        out,
        input,
        weight: { name: `${name}.weight` },
        epsilon: config.normEpsilon,
        unitOffset: config.unitOffsetNorms,
      }),
    linear: (
      out: string,
      input: string,
      weight: WeightRef,
      inFeatures: number,
      outFeatures: number,
      bias?: WeightRef,
    ) =>
      write({ op: "linear", out, input, weight, ...(bias && { bias }), inFeatures, outFeatures }),
    rope: (out: string, input: string, table: number, numHeads: number) =>
      write({ op: "rope", out, input, table, numHeads }),
    pagedAttention: (out: string, query: string, key: string, value: string, layer: number) => {
      const slidingWindow = config.slidingWindow[layer];
      const softcap = config.attentionSoftcap;
      return write({
        op: "pagedAttention",
        out,
        query,
        key,
        value,
        layer,
        scale: config.attentionScale,
        ...(slidingWindow !== undefined && { slidingWindow }),
        ...(softcap !== undefined && { softcap }),
      });
    },
    gatedActivation: (out: string, gate: string, up: string) =>
      write({ op: "gatedActivation", out, gate, up, activation: config.activation }),
    add: (out: string, a: string, b: string) =>
      write({ op: "add", out, a, b, scale: config.residualScale }),
    gather: (out: string, input: string) => write({ op: "gather", out, input }),
    logits: (out: string, input: string) => {
      const softcap = config.logitSoftcap;
      const scale = config.logitScale;
      return write({ op: "logits", out, input, scale, ...(softcap !== undefined && { softcap }) });
    },
  };
}
