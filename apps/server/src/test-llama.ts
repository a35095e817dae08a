import { buildGraph, type ChatTokenizer, parseConfig } from "@kvcache/decoder";
import type { ServedModel } from "@kvcache/engine";

const [hidden, inner, headDim, queryHeads, kvHeads, vocab] = [48, 64, 16, 4, 2, 97];

/**
 * A Llama of two layers with random weights (tied embeddings, grouped queries); ids of its small
 * vocabulary stand for many tokens of the tokenizer each.
 */
export function randomLlama(tokenizer: ChatTokenizer): ServedModel {
  const config = parseConfig({
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_size: hidden,
    intermediate_size: inner,
    num_attention_heads: queryHeads,
    num_key_value_heads: kvHeads,
    head_dim: headDim,
    num_hidden_layers: 2,
    max_position_embeddings: 4096,
    vocab_size: vocab,
    tie_word_embeddings: true,
  });
  const tensors = new Map<string, Float32Array>();
  const shapeOf = (name: string): readonly number[] => {
    if (name.includes("norm")) return [hidden];
    if (name.includes("embed")) return [vocab, hidden];
    if (name.includes("q_proj")) return [queryHeads * headDim, hidden];
    if (/[kv]_proj/.test(name)) return [kvHeads * headDim, hidden];
    if (name.includes("o_proj")) return [hidden, queryHeads * headDim];
    return name.includes("down") ? [hidden, inner] : [inner, hidden];
  };
  const valuesOf = (name: string): Float32Array => {
    let state = [...name].reduce(
      (hash, letter) => Math.imul(hash ^ letter.charCodeAt(0), 0x5bd1e995),
      7,
    );
    const next = () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
      return state / 2 ** 31;
    };
    const shape = shapeOf(name);
    const length = shape.reduce((product, size) => product * size, 1);
    const scale = shape.length === 1 ? 0.2 : 2.5 / Math.sqrt(shape[1]!);
    return Float32Array.from({ length }, () => (shape.length === 1 ? 1 : 0) + scale * next());
  };
  return {
    name: "random",
    graph: buildGraph({ ...config, headWeight: config.embeddingWeight }),
    weights: {
      has: (name) => name !== "lm_head.weight",
      get(name) {
        const values = tensors.get(name) ?? valuesOf(name);
        tensors.set(name, values);
        return { dtype: "f32", shape: shapeOf(name), data: new Uint8Array(values.buffer) };
      },
    },
    tokenizer: {
      ...tokenizer,
      encode: (text, options) => tokenizer.encode(text, options).map((id) => id % vocab),
    },
    generationConfig: { eosTokenIds: [], maxNewTokens: undefined },
    fingerprint: "random",
  };
}
