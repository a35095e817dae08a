import { z } from "zod";
import { cacheControl, count, maybe, notServed, onlyNeutral, tokenIds } from "./fields.ts";
import { kv, kvAliases, kvUsage } from "./kv.ts";

const MAX_STOPS = 16;
const stopText = z.string().min(1).max(1024);

/** Fields that every generating route takes. */
export const generationFields = {
  model: maybe(z.string().max(512), "Default: the first model that is served"),
  temperature: maybe(z.number().min(0), "0 takes the likeliest token"),
  top_p: maybe(z.number().gt(0).max(1)),
  top_k: maybe(z.int().min(-1), "0 and -1: all tokens"),
  min_p: maybe(z.number().min(0).max(1)),
  frequency_penalty: maybe(z.number().min(-2).max(2)),
  presence_penalty: maybe(z.number().min(-2).max(2)),
  repetition_penalty: maybe(z.number().gt(0)),
  logit_bias: maybe(
    z
      .record(z.string().regex(/^\d{1,10}$/), z.number().min(-100).max(100))
      .refine((bias) => Object.keys(bias).length <= 1024, { error: "holds more than 1024 tokens" }),
    "Added to the logits of tokens, by id",
  ),
  seed: maybe(
    z.int(),
    "Equal seeds draw equal tokens: any integer up to ±(2^53 − 1) but -1, which, like none, draws others each time",
  ),
  stop: maybe(z.union([stopText, z.array(stopText).max(MAX_STOPS)])),
  stop_token_ids: maybe(tokenIds.max(1024)),
  max_tokens: maybe(count),
  min_tokens: maybe(count),
  ignore_eos: maybe(z.boolean()),
  skip_special_tokens: maybe(z.boolean()),
  n: maybe(z.int().min(1).max(64)),
  stream: maybe(z.boolean()),
  stream_options: maybe(
    z.looseObject({
      include_usage: maybe(z.boolean()),
      continuous_usage_stats: maybe(z.boolean(), "Usage in every chunk"),
    }),
  ),
  prompt_logprobs: maybe(z.int().min(0).max(20)),
  priority: maybe(z.number().min(-1e6).max(1e6), "Higher runs first"),
  timeout: maybe(z.number().gt(0).max(86_400), "Seconds after which the request fails with 408"),
  structured_outputs: maybe(
    z.looseObject({
      json: maybe(z.union([z.record(z.string(), z.unknown()), z.string()])),
      choice: maybe(z.array(z.string().min(1)).min(1).max(1000)),
      json_object: maybe(z.boolean()),
      regex: notServed("regular expressions are not enforced; use json or choice"),
      grammar: notServed("grammars are not enforced; use json or choice"),
      structural_tag: notServed("use json or choice"),
    }),
  ),
  cache_salt: maybe(z.string().max(512), "Prefixes are shared with requests of the same salt only"),
  cache_control: maybe(cacheControl, "Keeps the prompt's prefix in the cache longer than others"),
  prompt_cache_key: maybe(z.string().max(512), "A hint for routers; prefixes are found without it"),
  session_id: maybe(z.string().max(512), "A hint for routers"),
  kv_transfer_params: maybe(z.record(z.string(), z.unknown()), "Handed back as it came"),
  kv: maybe(kv),
  ...kvAliases,
  user: maybe(z.string()),
  metadata: maybe(z.record(z.string(), z.unknown())),
  best_of: onlyNeutral(1, "ask for n choices and choose"),
  use_beam_search: onlyNeutral(false, "there is no beam search"),
  length_penalty: onlyNeutral(1, "there is no beam search"),
  include_stop_str_in_output: onlyNeutral(false, "text ends before the stop string"),
  spaces_between_special_tokens: onlyNeutral(true, "decoding follows the tokenizer"),
  truncate_prompt_tokens: notServed("a prompt is never cut silently"),
  return_token_ids: onlyNeutral(false, "use /tokenize"),
  return_tokens_as_token_ids: onlyNeutral(false, "use /tokenize"),
  logits_processors: notServed("use logit_bias"),
  guided_json: notServed("use structured_outputs or response_format"),
  guided_regex: notServed("use structured_outputs"),
  guided_choice: notServed("use structured_outputs"),
  guided_grammar: notServed("use structured_outputs"),
  lora_request: notServed("there are no adapters"),
  thinking_token_budget: notServed("use max_tokens"),
};

export const responseFormat = z.discriminatedUnion("type", [
  z.looseObject({ type: z.literal("text") }),
  z.looseObject({ type: z.literal("json_object") }),
  z.looseObject({
    type: z.literal("json_schema"),
    json_schema: z.looseObject({
      name: maybe(z.string().max(256)),
      description: maybe(z.string()),
      schema: z.record(z.string(), z.unknown()),
      strict: maybe(z.boolean()),
    }),
  }),
]);

export const usage = z.object({
  prompt_tokens: z.number(),
  completion_tokens: z.number(),
  total_tokens: z.number(),
  prompt_tokens_details: z.object({ cached_tokens: z.number() }),
  kv: kvUsage,
});

const commonFields = z.looseObject(generationFields);
/** What all bodies have in common. */
export type GenerationFields = z.infer<typeof commonFields>;
export type ResponseFormat = z.infer<typeof responseFormat>;
export type UsageBody = z.infer<typeof usage>;
