import { KvCacheError, type RopeParameters } from "@kvcache/core";
import { type Fields, fieldsOf, MAX_INTEGER, show } from "../files/fields.ts";
import type { JsonObject } from "../files/json-file.ts";
import { type Family, families, supportedArchitectures } from "./families.ts";
import { parseLayers } from "./layer-config.ts";
import { parseRopes } from "./rope-config.ts";

/** A decoder in numbers: everything that `buildGraph` asks, nothing else. */
export interface DecoderConfig {
  readonly architecture: string;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numLayers: number;
  readonly numQueryHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly maxPositions: number;

  readonly normEpsilon: number;
  /** Norms multiply by 1 + weight. */
  readonly unitOffsetNorms: boolean;
  /** A norm after each branch too, before it joins the residual stream. */
  readonly sandwichNorms: boolean;
  /** An RMSNorm per head on queries and keys, before RoPE. */
  readonly queryKeyNorm: boolean;
  readonly activation: "silu" | "gelu-tanh";

  readonly queryKeyValueBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  /** q, k, v are rows of one matrix, and so are gate, up. */
  readonly fusedProjections: boolean;

  readonly embeddingScale: number;
  readonly residualScale: number;
  readonly attentionScale: number;
  readonly attentionSoftcap: number | undefined;
  readonly logitScale: number;
  readonly logitSoftcap: number | undefined;

  readonly ropes: readonly RopeParameters[];
  /** [numLayers]: index into `ropes`; undefined = no rotation. */
  readonly ropeOfLayer: readonly (number | undefined)[];
  /** [numLayers]: positions that a query sees, itself included; undefined = all. */
  readonly slidingWindow: readonly (number | undefined)[];

  readonly tieWordEmbeddings: boolean;
  /** Names of the stored matrices [vocabSize, hiddenSize]; `resolveTies` may change them. */
  readonly embeddingWeight: string;
  readonly headWeight: string;

  readonly bosTokenId: number | undefined;
  readonly eosTokenIds: readonly number[];
}

const EMBEDDING = "model.embed_tokens.weight";
const HEAD = "lm_head.weight";
const multiplier = { min: 0, max: 1e6, above: true };

/**
 * Reads a Hugging Face config.json of either style (transformers 4 or 5). Throws `unsupported` for
 * architectures and features that the graph cannot express, `invalid-model` for impossible values;
 * both name the field. Nothing is allocated by a number of the file before it was checked.
 */
export function parseConfig(json: JsonObject, file = "config.json"): DecoderConfig {
  const config = fieldsOf(json, file);
  const [architecture, family] = familyOf(config);
  refuseUnsupported(config);

  const hiddenSize = config.integer("hidden_size", { min: 1, max: 1 << 20 });
  const numLayers = config.integer("num_hidden_layers", { min: 1, max: 4096 });
  const heads = { min: 1, max: 65_536 };
  const numQueryHeads = config.integer("num_attention_heads", heads);
  // A key that is there but null means "as many as query heads" in every family.
  const kvFallback = config.given("num_key_value_heads") ? undefined : family.numKvHeads;
  const numKvHeads = config.integer("num_key_value_heads", heads, kvFallback ?? numQueryHeads);
  if (numQueryHeads % numKvHeads !== 0)
    throw new KvCacheError(
      "invalid-model",
      `${config.path("num_key_value_heads")} ${numKvHeads} does not divide num_attention_heads ${numQueryHeads}.`,
      { value: numKvHeads },
    );
  const headDim = config.integer(
    "head_dim",
    { min: 1, max: 65_536 },
    family.headDim ?? hiddenSize / numQueryHeads,
  );
  if (!Number.isInteger(headDim))
    throw new KvCacheError(
      "invalid-model",
      `${config.path("hidden_size")} ${hiddenSize} is not a multiple of num_attention_heads ${numQueryHeads}, and there is no head_dim.`,
      { value: hiddenSize },
    );
  const maxPositions = config.integer(
    "max_position_embeddings",
    { min: 1, max: MAX_INTEGER },
    family.maxPositions,
  );
  const attentionBias = family.attentionBias === "field" && config.boolean("attention_bias", false);
  const scalar = family.queryPreAttentionScalar;

  return Object.freeze({
    architecture,
    vocabSize: config.integer("vocab_size", { min: 1, max: 1 << 24 }),
    hiddenSize,
    intermediateSize: config.integer("intermediate_size", { min: 1, max: 1 << 24 }),
    numLayers,
    numQueryHeads,
    numKvHeads,
    headDim,
    maxPositions,
    normEpsilon: config.number("rms_norm_eps", { min: 0, max: 1 }, family.normEpsilon),
    unitOffsetNorms: family.unitOffsetNorms ?? false,
    sandwichNorms: family.sandwichNorms ?? false,
    queryKeyNorm: family.queryKeyNorm ?? false,
    activation: parseActivation(config, family),
    queryKeyValueBias: family.attentionBias === "qkv" || attentionBias,
    outputBias: attentionBias,
    mlpBias: family.mlpBias && config.boolean("mlp_bias", false),
    fusedProjections: family.fusedProjections ?? false,
    embeddingScale: family.scaledEmbedding
      ? Math.sqrt(hiddenSize)
      : parseMultiplier(config, family, "embedding_multiplier"),
    residualScale: parseMultiplier(config, family, "residual_multiplier"),
    attentionScale: family.multipliers
      ? parseMultiplier(config, family, "attention_multiplier")
      : (scalar ? config.number("query_pre_attn_scalar", multiplier, scalar) : headDim) ** -0.5,
    attentionSoftcap: family.attentionSoftcap
      ? parseSoftcap(config, "attn_logit_softcapping", family.attentionSoftcap)
      : undefined,
    logitScale: 1 / parseMultiplier(config, family, "logits_scaling"),
    logitSoftcap: scalar
      ? parseSoftcap(config, "final_logit_softcapping", family.logitSoftcap)
      : undefined,
    ropes: Object.freeze(parseRopes({ config, family, headDim, maxPositions })),
    ...parseLayers(config, family, numLayers),
    tieWordEmbeddings: config.boolean("tie_word_embeddings", family.tieWordEmbeddings),
    embeddingWeight: EMBEDDING,
    headWeight: HEAD,
    bosTokenId: parseTokenIds(config, "bos_token_id")[0],
    eosTokenIds: Object.freeze(parseTokenIds(config, "eos_token_id")),
  } satisfies DecoderConfig);
}

/**
 * Which stored matrices embedding and head read. A tied model may store either one; where both are
 * stored each is used (transformers 5; version 4 ignored the head).
 */
export function resolveTies(config: DecoderConfig, has: (name: string) => boolean): DecoderConfig {
  if (!config.tieWordEmbeddings) return config;
  if (!has(HEAD)) return Object.freeze({ ...config, headWeight: EMBEDDING });
  if (!has(EMBEDDING)) return Object.freeze({ ...config, embeddingWeight: HEAD });
  return config;
}

/** One id, a list of ids, or null. */
export function parseTokenIds(config: Fields, field: string): number[] {
  const value = config.raw(field);
  if (value === undefined) return [];
  const ids = Array.isArray(value) ? value : [value];
  if (ids.length > 1000 || !ids.every((id) => Number.isInteger(id) && id >= 0 && id <= MAX_INTEGER))
    throw config.fail(field, "must be a token id or a list of token ids");
  return ids as number[];
}

function familyOf(config: Fields): [architecture: string, family: Family] {
  const listed = config.list("architectures")?.[0];
  const modelType = config.raw("model_type");
  if (modelType !== undefined && typeof modelType !== "string")
    throw config.fail("model_type", "must be a string");
  const byType = [...families].find(([, family]) => family.modelType === modelType);
  const architecture = listed ?? byType?.[0];
  const family = typeof architecture === "string" ? families.get(architecture) : undefined;
  if (typeof architecture !== "string" || family === undefined)
    throw new KvCacheError(
      "unsupported",
      `${config.path("architectures")} ${show(listed)}, model_type ${show(modelType)}: this architecture is not supported.`,
      { value: listed, remedy: `Supported are ${supportedArchitectures.join(", ")}.` },
    );
  if (modelType !== undefined && modelType !== family.modelType)
    throw config.fail("model_type", `must be "${family.modelType}" for ${architecture}`);
  return [architecture, family];
}

/** Features that would change the result and that the graph cannot express. */
function refuseUnsupported(config: Fields): void {
  const refuse = (field: string, what: string) =>
    new KvCacheError("unsupported", `${config.path(field)}: ${what} is not supported.`, {
      value: config.raw(field),
    });
  const quantization = config.object("quantization_config");
  if (quantization)
    throw new KvCacheError(
      "unsupported",
      `${config.path("quantization_config")}: weights quantised by ${show(quantization.raw("quant_method"))} cannot be read.`,
      { remedy: "Use the folder with F32, F16 or BF16 weights; loading can quantise them." },
    );
  if (config.boolean("use_bidirectional_attention", false))
    throw refuse("use_bidirectional_attention", "attention to later tokens");
}

const activations: ReadonlyMap<string, DecoderConfig["activation"]> = new Map([
  ["silu", "silu"],
  ["swish", "silu"],
  ["gelu_pytorch_tanh", "gelu-tanh"],
  ["gelu_new", "gelu-tanh"],
]);

function parseActivation(config: Fields, family: Family): DecoderConfig["activation"] {
  const field = family.activationKey ?? "hidden_act";
  const name = config.string(field, family.activation ?? "silu");
  const activation = activations.get(name);
  if (activation === undefined)
    throw new KvCacheError("unsupported", `${config.path(field)}: unknown activation "${name}".`, {
      value: name,
      remedy: `Known are ${[...activations.keys()].join(", ")}.`,
    });
  return activation;
}

const parseMultiplier = (config: Fields, family: Family, field: string): number =>
  family.multipliers ? config.number(field, multiplier, 1) : 1;

/** A null is "none" even where the family has a default. */
function parseSoftcap(config: Fields, field: string, fallback: number | undefined) {
  if (config.raw(field) === undefined) return config.given(field) ? undefined : fallback;
  return config.number(field, multiplier);
}
