// A whole decoder of Llama-3.1-8B's shape with made-up weights: decode steps against what its bytes
// take at the speed of a plain read.
import { createWebGpuSession } from "../packages/backend-webgpu/src/webgpu-session.ts";
import { buildGraph, parseConfig, resolveTies } from "../packages/decoder/src/index.ts";
import { filledCache } from "./webgpu-kernels.mjs";

const llama = {
  architectures: ["LlamaForCausalLM"],
  hidden_size: 4096,
  intermediate_size: 14336,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  head_dim: 128,
  vocab_size: 128256,
  max_position_embeddings: 131072,
  rope_theta: 500000,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: false,
};
const small = {
  ...llama,
  hidden_size: 256,
  intermediate_size: 512,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 1024,
};

/** Halves that look like weights; every tensor is a view of the same ones. */
function madeUpWeights(graph) {
  const shapes = new Map();
  for (const node of graph.nodes) {
    if (node.op === "embed") shapes.set(node.weight.name, [graph.vocabSize, graph.hiddenSize]);
    if (node.op === "rmsNorm") shapes.set(node.weight.name, [graph.hiddenSize]);
    if (node.op === "linear") shapes.set(node.weight.name, [node.outFeatures, node.inFeatures]);
  }
  const sizes = [...shapes.values()].map((shape) => shape.reduce((a, b) => a * b, 1));
  const halves = new Uint16Array(Math.max(...sizes));
  let state = 1;
  const period = Math.min(halves.length, 1 << 20);
  for (let i = 0; i < period; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    // Sign and mantissa at random, exponents of about 2^-7.
    halves[i] = ((state >>> 16) & 0x83ff) | (8 << 10);
  }
  for (let at = period; at < halves.length; at *= 2)
    halves.copyWithin(at, 0, Math.min(at, halves.length - at));
  const names = shapes;
  return {
    bytes: 2 * [...sizes].reduce((a, b) => a + b, 0),
    source: {
      has: (name) => names.has(name),
      get(name) {
        const shape = names.get(name);
        const length = shape.reduce((a, b) => a * b, 1);
        return { dtype: "f16", shape, data: new Uint8Array(halves.buffer, 0, 2 * length) };
      },
    },
  };
}

const middleOf = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

export async function measureDecoder(bench, quick, { batches, readBandwidth, log }) {
  const parsed = parseConfig(quick ? small : llama);
  const graph = buildGraph(resolveTies(parsed, () => true));
  const { shape } = graph;
  const { source, bytes: weightBytes } = madeUpWeights(graph);
  // A layer of 16 × 32,768 tokens is one byte more than one binding shows.
  const context = quick ? 256 : 32000;
  const rounds = quick ? 1 : 8;
  const stepsAtOnce = quick ? 2 : 8;
  const results = {};
  for (const batch of batches)
    for (const [name, tokens] of [
      ["full", context],
      ["kept 1/8", context / 8],
    ]) {
      const label = `batch ${batch}, ${name}`;
      const lengths = new Array(batch).fill(tokens);
      const { cache, device, sequences } = filledCache(bench, shape, lengths, { slack: 256 });
      const session = createWebGpuSession(device, bench.queue);
      const start = performance.now();
      const model = await session.load(graph, source, { weightFormat: "f16" });
      const loadSeconds = (performance.now() - start) / 1e3;
      let position = tokens;
      /** A step of one token a sequence. */
      const nextStep = () => {
        for (const sequence of sequences) cache.append(sequence, 1);
        const ints = (f) => Int32Array.from({ length: batch }, (_, k) => f(k));
        const at = position++;
        return {
          tokenIds: ints((k) => k),
          positions: ints(() => at),
          ropeLengths: ints(() => at + 1),
          cuTokens: Int32Array.from({ length: batch + 1 }, (_, k) => k),
          sequences: ints((k) => sequences[k]),
          logitIndices: ints((k) => k),
          signalFlags: ints(() => 0),
          attentionBuffers: ints(() => 0),
        };
      };
      // Tokens are chosen on the device, some steps at a time, as greedy decoding does.
      const chosen = async () => {
        const began = performance.now();
        await model.choose(stepsAtOnce, nextStep);
        return (performance.now() - began) / stepsAtOnce;
      };
      /** All logits read back after each step; until the pass is submitted, the host is at work. */
      const logitsStep = async () => {
        const began = performance.now();
        const pass = model.forward(nextStep());
        const host = performance.now() - began;
        await pass;
        return { host, whole: performance.now() - began };
      };
      // The device was idle while weights arrived: its clocks must be up again.
      for (let i = 0; i < rounds; i++) await chosen();
      const milliseconds = [];
      for (let i = 0; i < rounds; i++) milliseconds.push(await chosen());
      const withLogits = [];
      for (let i = 0; i < 2 * rounds; i++) withLogits.push(await logitsStep());
      const host = middleOf(withLogits.map((step) => step.host));
      const logitsRead = middleOf(withLogits.map((step) => step.whole));
      const kvBytes = batch * tokens * shape.numLayers * shape.numKvHeads * shape.headDim * 4;
      // Of the embedding only the rows of the step's tokens are read.
      const read = weightBytes - 2 * graph.vocabSize * graph.hiddenSize + kvBytes;
      const ideal = (1e3 * read) / readBandwidth;
      const middle = middleOf(milliseconds);
      const ratio = middle / ideal;
      results[label] = {
        milliseconds,
        median: middle,
        ideal,
        ratio,
        host,
        logitsRead,
        loadSeconds,
      };
      log(
        `  ${label}: ${middle.toFixed(2)} ms a step, ${ratio.toFixed(2)} × its bytes' time; ` +
          `${host.toFixed(2)} ms on the host, ${logitsRead.toFixed(2)} ms with all logits read`,
      );
      await model.dispose();
      await session.dispose();
      cache.dispose();
    }
  return results;
}
