import { KvCacheError } from "@kvcache/core";
import { fieldsOf, MAX_INTEGER } from "../files/fields.ts";
import type { JsonObject } from "../files/json-file.ts";
import { type DecoderConfig, parseTokenIds } from "./decoder-config.ts";

/** Defaults that a model's publisher gives for generating; a caller's own values win. */
export interface GenerationConfig {
  /** Any of these ends a generation. */
  readonly eosTokenIds: readonly number[];
  readonly bosTokenId: number | undefined;
  /** False: greedy, whatever the values below say. */
  readonly doSample: boolean;
  readonly temperature: number;
  /** 0: all tokens. */
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly maxNewTokens: number | undefined;
}

/**
 * Reads generation_config.json; where it is absent or silent, config.json's ids and transformers'
 * defaults hold. Throws `invalid-model` naming file and field.
 */
export function parseGenerationConfig(
  json: JsonObject | undefined,
  config: DecoderConfig,
  file = "generation_config.json",
): GenerationConfig {
  const fields = fieldsOf(json ?? {}, file);
  const given = parseTokenIds(fields, "eos_token_id");
  const eosTokenIds = given.length > 0 ? given : config.eosTokenIds;
  const outside = eosTokenIds.find((id) => id >= config.vocabSize);
  if (outside !== undefined)
    throw new KvCacheError(
      "invalid-model",
      `${given.length > 0 ? file : "config.json"}: eos_token_id ${outside} is outside of the vocabulary of ${config.vocabSize} tokens.`,
      { value: outside },
    );
  const share = { min: 0, max: 1 };
  const positiveShare = { ...share, above: true };
  const count = { min: 1, max: MAX_INTEGER };
  return Object.freeze({
    eosTokenIds: Object.freeze([...new Set(eosTokenIds)]),
    bosTokenId: parseTokenIds(fields, "bos_token_id")[0] ?? config.bosTokenId,
    doSample: fields.boolean("do_sample", false),
    temperature: fields.number("temperature", { min: 0, max: 1000 }, 1),
    topK: fields.integer("top_k", { min: 0, max: MAX_INTEGER }, 50),
    topP: fields.number("top_p", positiveShare, 1),
    minP: fields.number("min_p", share, 0),
    repetitionPenalty: fields.number("repetition_penalty", { min: 0, max: 1000, above: true }, 1),
    maxNewTokens:
      fields.raw("max_new_tokens") === undefined
        ? undefined
        : fields.integer("max_new_tokens", count),
  } satisfies GenerationConfig);
}
