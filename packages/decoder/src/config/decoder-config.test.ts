import { describe, expect, it } from "vitest";
import { llamaConfig as llama } from "../__fixtures__/tiny-model.ts";
import { type DecoderConfig, parseConfig, resolveTies } from "./decoder-config.ts";

const of = (architecture: string, modelType: string, more = {}) => ({
  ...llama,
  architectures: [architecture],
  model_type: modelType,
  ...more,
});
const mistral = (more = {}) => of("MistralForCausalLM", "mistral", more);
const qwen2 = (more = {}) => of("Qwen2ForCausalLM", "qwen2", { num_hidden_layers: 4, ...more });
const qwen3 = (more = {}) => of("Qwen3ForCausalLM", "qwen3", more);
const gemma3 = (more = {}) =>
  of("Gemma3ForCausalLM", "gemma3_text", { num_hidden_layers: 7, ...more });
const smollm3 = (more = {}) =>
  of("SmolLM3ForCausalLM", "smollm3", { num_hidden_layers: 4, num_key_value_heads: 1, ...more });
const theta = (json: object) => parseConfig({ ...json }).ropes[0]!.theta;
const scaling = (json: object) => parseConfig({ ...llama, ...json }).ropes[0]!.scaling;

describe("defaults", () => {
  it("of Llama", () => {
    const { num_key_value_heads, ...minimal } = llama;
    expect(num_key_value_heads).toBe(1);
    expect(parseConfig(minimal)).toMatchObject({
      numKvHeads: 2,
      headDim: 4,
      maxPositions: 2048,
      normEpsilon: 1e-6,
      activation: "silu",
      tieWordEmbeddings: false,
      queryKeyValueBias: false,
      outputBias: false,
      mlpBias: false,
      attentionScale: 0.5,
      embeddingScale: 1,
      residualScale: 1,
      logitScale: 1,
      ropes: [{ theta: 10_000, dim: 4, maxPositions: 2048, scaling: { type: "default" } }],
      slidingWindow: [undefined],
      eosTokenIds: [2],
    } satisfies Partial<DecoderConfig>);
  });

  it.each([
    ["head_dim null is hidden / heads", { ...llama, head_dim: null }, { headDim: 4 }],
    ["head_dim is honoured", { ...llama, head_dim: 16 }, { headDim: 16, attentionScale: 0.25 }],
    ["Qwen2 honours head_dim", qwen2({ head_dim: 6 }), { headDim: 6 }],
    ["Qwen3 has head_dim 128", qwen3(), { headDim: 128 }],
    [
      "KV heads null is one per query head",
      { ...llama, num_key_value_heads: null },
      { numKvHeads: 2 },
    ],
    ["Phi3 has eps 1e-5", of("Phi3ForCausalLM", "phi3"), { normEpsilon: 1e-5 }],
    ["the architecture follows from model_type", { ...llama, architectures: null }, { headDim: 4 }],
  ])("%s", (_, json, expected) => {
    expect(parseConfig(json)).toMatchObject(expected);
  });
});

describe("biases", () => {
  it.each([
    [
      "Llama attention_bias: q, k, v and o",
      { ...llama, attention_bias: true },
      [true, true, false],
    ],
    ["Llama mlp_bias", { ...llama, mlp_bias: true }, [false, false, true]],
    ["Mistral has none", mistral({ attention_bias: true, mlp_bias: true }), [false, false, false]],
    ["Qwen2 always q, k, v, never o", qwen2({ attention_bias: false }), [true, false, false]],
    ["Qwen3 attention_bias: all four", qwen3({ attention_bias: true }), [true, true, false]],
  ])("%s", (_, json, expected) => {
    const { queryKeyValueBias, outputBias, mlpBias } = parseConfig(json);
    expect([queryKeyValueBias, outputBias, mlpBias]).toEqual(expected);
  });
});

describe("rope", () => {
  const parameters = (more = {}) => ({ rope_parameters: { rope_type: "default", ...more } });
  it.each([
    ["top level, old style", { ...llama, rope_theta: 5e5, rope_scaling: null }, 5e5],
    ["rope_parameters, new style", { ...llama, ...parameters({ rope_theta: 2e5 }) }, 2e5],
    ["rope_parameters win", { ...llama, rope_theta: 1e4, ...parameters({ rope_theta: 2e5 }) }, 2e5],
    ["rope_parameters without theta", { ...llama, rope_theta: 3e5, ...parameters() }, 3e5],
    [
      "rope_scaling replaces rope_parameters as a whole",
      {
        ...llama,
        ...parameters({ rope_theta: 2e5 }),
        rope_scaling: { type: "linear", factor: 2 },
      },
      1e4,
    ],
    [
      "an empty rope_scaling does not",
      { ...llama, ...parameters({ rope_theta: 2e5 }), rope_scaling: {} },
      2e5,
    ],
    ["SmolLM3", smollm3(), 2e6],
  ])("theta: %s", (_, json, expected) => {
    expect(theta(json)).toBe(expected);
  });

  it("rope_type beats the legacy key", () => {
    expect(scaling({ rope_scaling: { rope_type: "linear", type: "dynamic", factor: 3 } })).toEqual({
      type: "linear",
      factor: 3,
    });
  });

  it("original length: top level, then the dictionary, then max_position_embeddings", () => {
    const llama3 = {
      rope_type: "llama3",
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
    };
    const original = (json: object) => scaling({ max_position_embeddings: 512, ...json });
    expect(original({ rope_scaling: llama3 })).toMatchObject({ originalMaxPositions: 512 });
    const inside = { rope_scaling: { ...llama3, original_max_position_embeddings: 64 } };
    expect(original(inside)).toMatchObject({ originalMaxPositions: 64 });
    const both = { ...inside, original_max_position_embeddings: 128 };
    expect(original(both)).toMatchObject({ originalMaxPositions: 128 });
  });

  const yarn = (more = {}) =>
    scaling({
      max_position_embeddings: 256,
      rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32, ...more },
    });
  it.each([
    ["default 0.1 ln 4 + 1", {}, 1.1386294],
    ["explicit", { attention_factor: 0.8 }, 0.8],
    ["both mscales", { mscale: 1, mscale_all_dim: 0.5 }, 1.1386294 / 1.0693147],
    ["one mscale alone is ignored", { mscale: 2 }, 1.1386294],
    ["factor null is the ratio of lengths, 8", { factor: null }, 1.2079442],
  ])("yarn attention factor: %s", (_, more, expected) => {
    const { attentionFactor } = yarn(more) as { attentionFactor: number };
    expect(attentionFactor).toBeCloseTo(expected, 6);
  });

  it("yarn defaults", () => {
    expect(yarn({ beta_fast: null })).toMatchObject({ betaFast: 32, betaSlow: 1, truncate: true });
  });

  it("Phi3: su is longrope, over part of a head", () => {
    const [rope] = parseConfig(
      of("Phi3ForCausalLM", "phi3", {
        partial_rotary_factor: 0.5,
        max_position_embeddings: 4096,
        original_max_position_embeddings: 1024,
        rope_scaling: { type: "su", short_factor: [1], long_factor: [2] },
      }),
    ).ropes;
    expect(rope).toMatchObject({ dim: 2, scaling: { type: "longrope", longFactor: [2] } });
    // sqrt(1 + ln 4 / ln 1024)
    expect(rope!.scaling).toHaveProperty("attentionFactor", Math.sqrt(1.2));
  });

  it("Gemma3 has a table for sliding layers, in both styles", () => {
    const old = parseConfig(
      gemma3({
        rope_theta: 5e5,
        rope_local_base_freq: 2e4,
        rope_scaling: { rope_type: "linear", factor: 8 },
      }),
    );
    const current = parseConfig(
      gemma3({
        rope_parameters: {
          full_attention: { rope_type: "linear", factor: 8, rope_theta: 5e5 },
          sliding_attention: { rope_type: "default", rope_theta: 2e4 },
        },
      }),
    );
    expect(old.ropes).toEqual(current.ropes);
    expect(old.ropes.map((rope) => [rope.theta, rope.scaling.type])).toEqual([
      [5e5, "linear"],
      [2e4, "default"],
    ]);
    expect(old.ropeOfLayer).toEqual([1, 1, 1, 1, 1, 0, 1]);
    expect(parseConfig(gemma3()).ropes.map((rope) => rope.theta)).toEqual([1e6, 1e4]);
  });

  it("SmolLM3 leaves layers without rotation", () => {
    expect(parseConfig(smollm3()).ropeOfLayer).toEqual([0, 0, 0, undefined]);
    expect(parseConfig(smollm3({ no_rope_layers: [0, 1, 0, 1] })).ropeOfLayer).toEqual([
      undefined,
      0,
      undefined,
      0,
    ]);
  });
});

describe("sliding windows", () => {
  const none = undefined;
  const types = ["sliding_attention", "full_attention", "full_attention", "sliding_attention"];
  const on = { use_sliding_window: true, sliding_window: 16 };
  it.each([
    ["Llama ignores it", { ...llama, sliding_window: 16 }, [none]],
    ["Mistral: all layers", mistral({ sliding_window: 16 }), [16]],
    ["Mistral: null is none", mistral({ sliding_window: null }), [none]],
    ["Mistral: absent is 4096", mistral(), [4096]],
    ["Phi3: absent is none", of("Phi3ForCausalLM", "phi3"), [none]],
    ["Qwen2: off", qwen2({ sliding_window: 16, max_window_layers: 0 }), [none, none, none, none]],
    ["Qwen2: later layers", qwen2({ ...on, max_window_layers: 2 }), [none, none, 16, 16]],
    ["Qwen2: 28 full layers by default", qwen2(on), [none, none, none, none]],
    [
      "Qwen2: layer_types win",
      qwen2({ ...on, max_window_layers: 4, layer_types: types }),
      [16, none, none, 16],
    ],
    [
      "Gemma2: even layers",
      of("Gemma2ForCausalLM", "gemma2", { num_hidden_layers: 3, sliding_window: 16 }),
      [16, none, 16],
    ],
    ["Gemma3: five of six", gemma3({ sliding_window: 16 }), [16, 16, 16, 16, 16, none, 16]],
    [
      "Gemma3: pattern",
      gemma3({ sliding_window: 16, sliding_window_pattern: 2 }),
      [16, none, 16, none, 16, none, 16],
    ],
    ["SmolLM3: NoPE layers", smollm3(on), [none, none, none, 16]],
  ])("%s", (_, json, expected) => {
    expect(parseConfig(json).slidingWindow).toEqual(expected);
  });

  it("refuses sliding layers without a window", () => {
    expect(() => parseConfig(qwen2({ layer_types: types }))).toThrow("layer_types");
  });
});

describe("multipliers", () => {
  it("of Granite", () => {
    const json = of("GraniteForCausalLM", "granite", {
      embedding_multiplier: 12,
      residual_multiplier: 0.22,
      attention_multiplier: 0.0625,
      logits_scaling: 8,
    });
    expect(parseConfig(json)).toMatchObject({
      embeddingScale: 12,
      residualScale: 0.22,
      attentionScale: 0.0625,
      logitScale: 0.125,
    });
  });

  it("of Gemma2, with null for no softcap", () => {
    const json = of("Gemma2ForCausalLM", "gemma2", { query_pre_attn_scalar: 16 });
    expect(parseConfig(json)).toMatchObject({
      embeddingScale: Math.sqrt(8),
      attentionScale: 0.25,
      attentionSoftcap: 50,
      logitSoftcap: 30,
      activation: "gelu-tanh",
      headDim: 256,
    });
    const uncapped = { ...json, attn_logit_softcapping: null, final_logit_softcapping: null };
    expect(parseConfig(uncapped).attentionSoftcap).toBeUndefined();
    expect(parseConfig(uncapped).logitSoftcap).toBeUndefined();
  });
});

describe("ties", () => {
  const names = (tie: boolean, ...stored: string[]) => {
    const config = parseConfig({ ...llama, tie_word_embeddings: tie });
    const { embeddingWeight, headWeight } = resolveTies(config, (name) => stored.includes(name));
    return [embeddingWeight, headWeight];
  };
  const [embedding, head] = ["model.embed_tokens.weight", "lm_head.weight"] as const;
  it("reads what is stored", () => {
    expect(names(true, embedding)).toEqual([embedding, embedding]);
    expect(names(true, head)).toEqual([head, head]);
    expect(names(true, embedding, head)).toEqual([embedding, head]);
    expect(names(false, embedding)).toEqual([embedding, head]);
  });
});

describe("errors name the field", () => {
  it.each([
    ["hidden_size", "abc"],
    ["hidden_size", 1e308],
    ["hidden_size", 16.5],
    ["hidden_size", null],
    ["hidden_size", 9],
    ["num_hidden_layers", 1e9],
    ["num_key_value_heads", 3],
    ["num_key_value_heads", 0],
    ["head_dim", 7],
    ["vocab_size", -1],
    ["max_position_embeddings", 0],
    ["rms_norm_eps", "tiny"],
    ["rope_theta", 0],
    ["tie_word_embeddings", "yes"],
    ["hidden_act", "xswish"],
    ["hidden_act", "constructor"],
    ["rope_scaling", "linear"],
    ["rope_scaling.rope_type", { rope_type: "quantum" }],
    ["rope_scaling.factor", { type: "linear", factor: -1 }],
    ["low_freq_factor", { rope_type: "llama3", factor: 8, high_freq_factor: 4 }],
    ["short_factor", { rope_type: "longrope", short_factor: [1], long_factor: [1, 1] }],
    ["architectures", "LlamaForCausalLM"],
    ["architectures", ["FrobnicatorForCausalLM"]],
    ["architectures", ["constructor"]],
    ["model_type", 5],
    ["model_type", "mistral"],
    ["eos_token_id", "abc"],
    ["quantization_config", { quant_method: "gptq" }],
  ])("%s = %j", (path, value) => {
    const field = path.split(".")[0]!;
    const key = field === "low_freq_factor" || field === "short_factor" ? "rope_scaling" : field;
    const parse = () => parseConfig({ ...llama, [key]: value });
    expect(parse).toThrow(expect.objectContaining({ name: "KvCacheError" }));
    expect(parse).toThrow(path);
    expect(parse).toThrow("config.json");
  });

  it("an unknown architecture lists the known ones", () => {
    expect(() => parseConfig({ ...llama, architectures: ["Mamba2ForCausalLM"] })).toThrow(
      /Mamba2ForCausalLM.*LlamaForCausalLM.*SmolLM3ForCausalLM/,
    );
  });

  it("hostile keys change nothing", () => {
    const json = JSON.parse(
      `{"__proto__": {"num_hidden_layers": 5}, ${JSON.stringify(llama).slice(1)}`,
    );
    expect(parseConfig(json)).toEqual(parseConfig(llama));
  });
});
