import {
  type CacheManager,
  cacheLayout,
  type DecoderGraph,
  type GraphNode,
  type StepInput,
  type WeightSource,
  type WeightTensor,
} from "@kvcache/core";
import { createPagedCache } from "@kvcache/paged";

export interface TestDecoderOptions {
  readonly hidden?: number;
  readonly inner?: number;
  readonly vocab?: number;
  readonly slidingWindow?: number;
  readonly softcap?: number;
  /** Rotated values per head of 16. */
  readonly ropeDim?: number;
  /** Biases on q, k, v; norms over the heads of q and k; scaled embeddings, sums and logits. */
  readonly extras?: boolean;
  readonly activation?: "silu" | "gelu-tanh";
}

export interface TestDecoder {
  readonly graph: DecoderGraph;
  readonly weights: WeightSource;
}

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 16 };

/** A decoder of two layers with random weights, for tests. Its nodes write names again. */
export function randomDecoder(options: TestDecoderOptions): TestDecoder {
  const { hidden = 48, inner = 80, vocab = 96, ropeDim = 16, extras = false } = options;
  const { numLayers, numQueryHeads, numKvHeads, headDim } = shape;
  const tensors = new Map<string, WeightTensor>();
  let seed = 1;
  const random = () => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return seed / 2 ** 31 - 1;
  };
  const weight = (name: string, dims: readonly number[], scale: number, offset = 0) => {
    const values = Float32Array.from(
      { length: dims.reduce((product, size) => product * size, 1) },
      () => offset + scale * random(),
    );
    tensors.set(name, { dtype: "f32", shape: dims, data: new Uint8Array(values.buffer) });
    return { name };
  };

  const nodes: GraphNode[] = [];
  const norm = (out: string, input: string, width: number) =>
    nodes.push({
      op: "rmsNorm",
      out,
      input,
      weight: weight(`norm ${nodes.length}`, [width], 0.3, extras ? 0 : 1),
      epsilon: 1e-5,
      unitOffset: extras,
    });
  const linear = (out: string, input: string, from: number, to: number, bias = false) =>
    nodes.push({
      op: "linear",
      out,
      input,
      weight: weight(`linear ${nodes.length}`, [to, from], 2 / Math.sqrt(from)),
      ...(bias ? { bias: weight(`bias ${nodes.length}`, [to], 0.5) } : {}),
      inFeatures: from,
      outFeatures: to,
    });
  const add = (b: string) =>
    nodes.push({ op: "add", out: "x", a: "x", b, scale: extras ? 0.7 : 1 });

  const table = weight("embedding", [vocab, hidden], 1);
  nodes.push({ op: "embed", out: "x", weight: table, scale: extras ? 1.5 : 1 });
  for (let layer = 0; layer < numLayers; layer++) {
    norm("h", "x", hidden);
    linear("q", "h", hidden, numQueryHeads * headDim, extras);
    linear("k", "h", hidden, numKvHeads * headDim, extras);
    linear("v", "h", hidden, numKvHeads * headDim, extras);
    if (extras) for (const name of ["q", "k"]) norm(name, name, headDim);
    nodes.push({ op: "rope", out: "q", input: "q", table: 0, numHeads: numQueryHeads });
    nodes.push({ op: "rope", out: "k", input: "k", table: 0, numHeads: numKvHeads });
    nodes.push({
      op: "pagedAttention",
      out: "a",
      query: "q",
      key: "k",
      value: "v",
      layer,
      scale: 0.4,
      ...(options.slidingWindow ? { slidingWindow: options.slidingWindow } : {}),
      ...(options.softcap ? { softcap: options.softcap } : {}),
    });
    linear("o", "a", numQueryHeads * headDim, hidden);
    add("o");
    norm("h", "x", hidden);
    linear("g", "h", hidden, inner);
    linear("u", "h", hidden, inner);
    const activation = options.activation ?? "silu";
    nodes.push({ op: "gatedActivation", out: "m", gate: "g", up: "u", activation });
    linear("d", "m", inner, hidden);
    add("d");
  }
  nodes.push({ op: "gather", out: "y", input: "x" });
  norm("y", "y", hidden);
  nodes.push({
    op: "linear",
    out: "y",
    input: "y",
    weight: table,
    inFeatures: hidden,
    outFeatures: vocab,
  });
  nodes.push({
    op: "logits",
    out: "y",
    input: "y",
    scale: extras ? 0.5 : 1,
    ...(extras ? { softcap: 3 } : {}),
  });
  return {
    graph: {
      shape,
      hiddenSize: hidden,
      vocabSize: vocab,
      maxPositions: 4096,
      ropes: [{ theta: 1000, dim: ropeDim, maxPositions: 4096, scaling: { type: "default" } }],
      slidingWindow: Array.from({ length: numLayers }, () => options.slidingWindow),
      nodes,
      output: "y",
    },
    weights: { has: (name) => tensors.has(name), get: (name) => tensors.get(name)! },
  };
}

export const testCache = (dtype: "f32" | "f16" = "f32"): CacheManager =>
  createPagedCache({
    layout: cacheLayout(shape, { dtype, blockSize: 8 }),
    maxSequences: 3,
    maxTokensPerSequence: 2048,
    numBlocks: 3 * 4 * 256,
    windowSize: 6,
  });

/** Appends to the sequences and describes the step: [sequence, tokens] each, all signals on. */
export function nextStep(
  cache: CacheManager,
  parts: readonly (readonly [sequence: number, tokens: number])[],
  logits: "all" | "none" = "all",
): StepInput {
  const starts = [0];
  const positions: number[] = [];
  for (const [sequence, tokens] of parts) {
    const first = cache.host!.nextPositions[sequence]!;
    cache.append(sequence, tokens);
    for (let i = 0; i < tokens; i++) positions.push(first + i);
    starts.push(positions.length);
  }
  return {
    tokenIds: Int32Array.from(positions, (position, i) => (position * 31 + i * 7) % 96),
    positions: Int32Array.from(positions),
    ropeLengths: Int32Array.from(positions, (position) => position + 1),
    cuTokens: Int32Array.from(starts),
    sequences: Int32Array.from(parts, ([sequence]) => sequence),
    logitIndices: Int32Array.from(logits === "all" ? positions.keys() : []),
    signalFlags: Int32Array.from(parts, () => 7),
    attentionBuffers: Int32Array.from(parts, ([sequence]) => 2 * sequence),
  };
}
