import { readFileSync } from "node:fs";
import {
  blockBytes,
  blocksFor,
  type CacheManager,
  cacheLayout,
  type DecoderGraph,
  type GraphNode,
  type HostCache,
  KvCacheError,
  type KvShape,
  type WeightSource,
} from "@kvcache/core";

/** Reads a little-endian safetensors file of F32, BF16 and I32 tensors. */
export function readSafetensors(file: URL) {
  const bytes = new Uint8Array(readFileSync(file));
  const headerLength = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + headerLength)));
  const entry = (name: string) => {
    const { dtype, shape, data_offsets: offsets } = header[name];
    const data = bytes.subarray(8 + headerLength + offsets[0], 8 + headerLength + offsets[1]);
    return { dtype, shape, data };
  };
  const weights: WeightSource = {
    has: (name) => name in header,
    get(name) {
      if (!(name in header)) throw new KvCacheError("invalid-model", `No weight ${name}.`);
      const { dtype, shape, data } = entry(name);
      return { dtype: dtype.toLowerCase(), shape, data };
    },
  };
  return {
    weights,
    floats: (name: string) => new Float32Array(entry(name).data.slice().buffer),
    integers: (name: string) => new Int32Array(entry(name).data.slice().buffer),
  };
}

/** A Llama with tied embeddings. */
export function llamaGraph(shape: KvShape, size: { hidden: number; inner: number; vocab: number }) {
  const { numLayers, numQueryHeads, numKvHeads, headDim } = shape;
  const { hidden, inner, vocab } = size;
  const nodes: GraphNode[] = [];
  const norm = (out: string, input: string, name: string) =>
    nodes.push({
      op: "rmsNorm",
      out,
      input,
      weight: { name: `model.${name}.weight` },
      epsilon: 1e-5,
      unitOffset: false,
    });
  const linear = (out: string, input: string, name: string, from: number, to: number) =>
    nodes.push({
      op: "linear",
      out,
      input,
      weight: { name: `model.${name}.weight` },
      inFeatures: from,
      outFeatures: to,
    });
  const add = (b: string) => nodes.push({ op: "add", out: "x", a: "x", b, scale: 1 });
  const rope = (name: string, numHeads: number) =>
    nodes.push({ op: "rope", out: name, input: name, table: 0, numHeads });

  const embedding = { name: "model.embed_tokens.weight" };
  nodes.push({ op: "embed", out: "x", weight: embedding, scale: 1 });
  for (let layer = 0; layer < numLayers; layer++) {
    const at = `layers.${layer}`;
    norm("h", "x", `${at}.input_layernorm`);
    linear("q", "h", `${at}.self_attn.q_proj`, hidden, numQueryHeads * headDim);
    linear("k", "h", `${at}.self_attn.k_proj`, hidden, numKvHeads * headDim);
    linear("v", "h", `${at}.self_attn.v_proj`, hidden, numKvHeads * headDim);
    rope("q", numQueryHeads);
    rope("k", numKvHeads);
    nodes.push({
      op: "pagedAttention",
      out: "a",
      query: "q",
      key: "k",
      value: "v",
      layer,
      scale: 1 / Math.sqrt(headDim),
    });
    linear("o", "a", `${at}.self_attn.o_proj`, numQueryHeads * headDim, hidden);
    add("o");
    norm("h", "x", `${at}.post_attention_layernorm`);
    linear("g", "h", `${at}.mlp.gate_proj`, hidden, inner);
    linear("u", "h", `${at}.mlp.up_proj`, hidden, inner);
    nodes.push({ op: "gatedActivation", out: "m", gate: "g", up: "u", activation: "silu" });
    linear("d", "m", `${at}.mlp.down_proj`, inner, hidden);
    add("d");
  }
  nodes.push({ op: "gather", out: "last", input: "x" });
  norm("last", "last", "norm");
  linear("head", "last", "embed_tokens", hidden, vocab);
  nodes.push({ op: "logits", out: "logits", input: "head", scale: 1 });
  const graph: DecoderGraph = {
    shape,
    hiddenSize: hidden,
    vocabSize: vocab,
    maxPositions: 2048,
    ropes: [{ theta: 500000, dim: headDim, maxPositions: 2048, scaling: { type: "default" } }],
    slidingWindow: Array.from({ length: numLayers }, () => undefined),
    nodes,
    output: "logits",
  };
  return graph;
}

/** Host memory for one sequence, block i of a row at a fixed place; enough of a cache for a step. */
export function oneSequenceCache(shape: KvShape, maxTokens: number) {
  const layout = cacheLayout(shape);
  const { blockSize } = layout.arenas[0]!;
  const numRows = shape.numLayers * shape.numKvHeads;
  const maxBlocksPerRow = blocksFor(maxTokens, blockSize);
  const numBlocks = numRows * maxBlocksPerRow;
  const host: HostCache = {
    layout,
    maxSequences: 1,
    maxBlocksPerRow,
    arenas: [
      {
        layout: layout.arenas[0]!,
        numBlocks,
        storage: new Uint8Array(numBlocks * blockBytes(layout.arenas[0]!)),
        positions: new Int32Array(numBlocks * blockSize),
        sumAttention: new Float32Array(numBlocks * blockSize),
        sumSquaredAttention: new Float32Array(numBlocks * blockSize),
      },
    ],
    arenaOfLayer: new Uint8Array(shape.numLayers),
    blockTables: Int32Array.from({ length: numBlocks }, (_, i) => i),
    lengths: new Int32Array(numRows),
    nextPositions: new Int32Array(1),
    windowSize: 0,
    windowQueries: new Float32Array(0),
  };
  return {
    // Backends only look at where the memory is.
    manager: { layout, maxSequences: 1, host } as CacheManager,
    host,
    append(tokens: number) {
      for (let row = 0; row < numRows; row++)
        for (let i = 0; i < tokens; i++) {
          const j = host.lengths[row]!++;
          host.arenas[0]!.positions[row * maxBlocksPerRow * blockSize + j] =
            host.nextPositions[0]! + i;
        }
      host.nextPositions[0]! += tokens;
    },
  };
}
