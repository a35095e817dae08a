import { weightFloats } from "@kvcache/core";
import type { ServedModel } from "@kvcache/engine";

/** Keys and values of a sequence's tokens by position: f32 [numLayers][capacity, numKvHeads × headDim]. */
export interface DenseCache {
  readonly keys: readonly Float32Array[];
  readonly values: readonly Float32Array[];
}

/** Whether a row (layer × numKvHeads + head) sees the token at a position. */
export type Mask = (row: number, position: number) => boolean;

/**
 * A Llama's decoding step as textbooks write it, in float64, over dense keys and values with a mask:
 * the oracle of what a compressed cache computes. It shares no code with kernels and backends.
 */
export function denseLlama({ graph, weights }: ServedModel) {
  const { numLayers, numQueryHeads, numKvHeads, headDim } = graph.shape;
  const { theta } = graph.ropes[0]!;
  const group = numQueryHeads / numKvHeads;
  const known = new Map<string, Float32Array>();
  const weight = (name: string): Float32Array => {
    const made = known.get(name) ?? weightFloats(weights.get(name), { name });
    known.set(name, made);
    return made;
  };
  const normOf = graph.nodes.find((node) => node.op === "rmsNorm");
  const epsilon = normOf?.op === "rmsNorm" ? normOf.epsilon : Number.NaN;

  const norm = (x: Float64Array, name: string): Float64Array => {
    const scale = weight(`${name}.weight`);
    const mean = x.reduce((total, value) => total + value * value, 0) / x.length;
    const factor = 1 / Math.sqrt(mean + epsilon);
    return x.map((value, i) => value * factor * scale[i]!);
  };
  const linear = (x: Float64Array, name: string): Float64Array => {
    const matrix = weight(`${name}.weight`);
    const out = new Float64Array(matrix.length / x.length);
    for (let row = 0; row < out.length; row++) {
      let total = 0;
      const start = row * x.length;
      for (let i = 0; i < x.length; i++) total += matrix[start + i]! * x[i]!;
      out[row] = total;
    }
    return out;
  };
  const rotate = (x: Float64Array, position: number): Float64Array => {
    const half = headDim / 2;
    return x.map((value, at) => {
      const i = at % headDim;
      const angle = position * theta ** (-(2 * (i % half)) / headDim);
      const other = i < half ? -x[at + half]! : x[at - half]!;
      return value * Math.cos(angle) + other * Math.sin(angle);
    });
  };

  function attend(query: Float64Array, layer: number, cache: DenseCache, end: number, mask: Mask) {
    const width = numKvHeads * headDim;
    const [keys, values] = [cache.keys[layer]!, cache.values[layer]!];
    const out = new Float64Array(query.length);
    for (let queryHead = 0; queryHead < numQueryHeads; queryHead++) {
      const head = Math.floor(queryHead / group);
      let total = 0;
      for (let position = 0; position <= end; position++) {
        if (position < end && !mask(layer * numKvHeads + head, position)) continue;
        const at = position * width + head * headDim;
        let dot = 0;
        for (let c = 0; c < headDim; c++) dot += query[queryHead * headDim + c]! * keys[at + c]!;
        const share = Math.exp(dot / Math.sqrt(headDim));
        total += share;
        for (let c = 0; c < headDim; c++) out[queryHead * headDim + c]! += share * values[at + c]!;
      }
      for (let c = 0; c < headDim; c++) out[queryHead * headDim + c]! /= total;
    }
    return out;
  }

  return {
    /**
     * Feeds a token, which every row sees itself: its keys and values are written at `position`, its
     * log-probabilities come back, [vocabSize].
     */
    step(cache: DenseCache, tokenId: number, position: number, mask: Mask): Float64Array {
      const embedding = weight("model.embed_tokens.weight");
      const width = graph.hiddenSize;
      let x = Float64Array.from(embedding.subarray(tokenId * width, (tokenId + 1) * width));
      for (let layer = 0; layer < numLayers; layer++) {
        const at = `model.layers.${layer}`;
        const h = norm(x, `${at}.input_layernorm`);
        const query = rotate(linear(h, `${at}.self_attn.q_proj`), position);
        const key = rotate(linear(h, `${at}.self_attn.k_proj`), position);
        cache.keys[layer]!.set(key, position * key.length);
        cache.values[layer]!.set(linear(h, `${at}.self_attn.v_proj`), position * key.length);
        const mixed = attend(query, layer, cache, position, mask);
        const added = linear(mixed, `${at}.self_attn.o_proj`);
        x = x.map((value, i) => value + added[i]!);
        const m = norm(x, `${at}.post_attention_layernorm`);
        const gate = linear(m, `${at}.mlp.gate_proj`);
        const up = linear(m, `${at}.mlp.up_proj`);
        const inner = gate.map((value, i) => (value / (1 + Math.exp(-value))) * up[i]!);
        const down = linear(inner, `${at}.mlp.down_proj`);
        x = x.map((value, i) => value + down[i]!);
      }
      const last = norm(x, "model.norm");
      const logits = new Float64Array(graph.vocabSize);
      for (let id = 0; id < logits.length; id++)
        for (let i = 0; i < width; i++) logits[id]! += embedding[id * width + i]! * last[i]!;
      const most = logits.reduce((a, b) => Math.max(a, b));
      const total = logits.reduce((sum, logit) => sum + Math.exp(logit - most), 0);
      return logits.map((logit) => logit - most - Math.log(total));
    },
  };
}
