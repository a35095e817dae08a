import type { CachePlan, PrefixPin } from "@kvcache/core";
import type { SamplingParams, TokenGrammar } from "@kvcache/decoder";
import type { GenerationRequest } from "@kvcache/engine";
import type { CacheControl } from "./schemas/fields.ts";
import type { GenerationFields } from "./schemas/generation.ts";
import type { ServedModel } from "./served-model.ts";
import type { RestoredSnapshot } from "./snapshots/restore.ts";

/** Leaves out what is null or undefined. */
export function defined<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== null && value !== undefined),
  ) as { [K in keyof T]?: NonNullable<T[K]> };
}

/**
 * How tokens are drawn: as the request says, else as the model's publisher does (greedily where its
 * generation_config.json says so).
 */
export function samplingOf(fields: GenerationFields, { run }: ServedModel): SamplingParams {
  const { generationConfig: defaults } = run.model;
  const { seed, logit_bias } = fields;
  const sampled = defaults.doSample;
  const topK = fields.top_k ?? (sampled ? defaults.topK : undefined);
  return defined({
    temperature: fields.temperature ?? (sampled ? defaults.temperature : 0),
    topP: fields.top_p ?? (sampled ? defaults.topP : undefined),
    topK: topK && Math.max(0, topK),
    minP: fields.min_p ?? (sampled ? defaults.minP : undefined),
    repetitionPenalty: fields.repetition_penalty ?? defaults.repetitionPenalty,
    frequencyPenalty: fields.frequency_penalty,
    presencePenalty: fields.presence_penalty,
    logitBias: logit_bias as SamplingParams["logitBias"] | null,
    seed: typeof seed === "number" ? seedOf(seed) : undefined,
  });
}

/** Seeds of clients may be negative, ours are not; −1 is nobody's: another one each time. */
function seedOf(seed: number): number | undefined {
  if (seed >= 0) return seed;
  return seed === -1 ? undefined : (seed % NEGATIVE_SEEDS) + NEGATIVE_SEEDS;
}

/** Negative seeds count down from here; what is above, the engine folds onto small ones. */
const NEGATIVE_SEEDS = Number.MAX_SAFE_INTEGER - 2 ** 16;

const minute = 60_000;

/** The pin of a cache_control on a prefix of so many tokens. */
export const pinOf = ({ ttl }: CacheControl, tokens: number): PrefixPin => ({
  tokens,
  milliseconds: ttl === "1h" ? 60 * minute : 5 * minute,
});

export interface GenerationDetails {
  readonly prompt: GenerationRequest["prompt"];
  readonly signal: AbortSignal;
  readonly maxTokens?: number | null | undefined;
  readonly logprobs?: number | null | undefined;
  readonly promptLogprobs?: number | null | undefined;
  readonly grammar?: TokenGrammar | undefined;
  readonly compressAfter?: number | undefined;
  /** Default: the whole prompt where the request has a cache_control. */
  readonly pin?: PrefixPin | undefined;
  readonly snapshot?: RestoredSnapshot | undefined;
  /** Where the text of a tool call is looked for. */
  readonly keepSpecialTokens?: boolean;
}

/** The plan that a request asks for: its snapshot's own, unless it says more than the id. */
function planFor(
  { kv, max_cache_tokens, protected_window_size, compress_once }: GenerationFields,
  snapshot: RestoredSnapshot | undefined,
  model: ServedModel,
): CachePlan {
  const { snapshot: _, ...rest } = kv ?? {};
  const wishes = defined({ ...rest, max_cache_tokens, protected_window_size, compress_once });
  if (snapshot && Object.keys(wishes).length === 0) return model.planOf(snapshot.request);
  return model.planOf({ kv, max_cache_tokens, protected_window_size, compress_once });
}

/** A request for the engine, of the fields that every route takes. */
export function generationRequest(
  fields: GenerationFields,
  model: ServedModel,
  details: GenerationDetails,
): GenerationRequest {
  const { stop, cache_control } = fields;
  return {
    prompt: details.prompt,
    signal: details.signal,
    sampling: samplingOf(fields, model),
    plan: planFor(fields, details.snapshot, model),
    stop: {
      strings: typeof stop === "string" ? [stop] : (stop ?? []),
      ids: fields.stop_token_ids ?? [],
      ignoreEos: fields.ignore_eos ?? false,
    },
    ...defined({
      maxTokens: details.maxTokens,
      minTokens: fields.min_tokens,
      n: fields.n,
      priority: fields.priority,
      timeout: typeof fields.timeout === "number" ? 1000 * fields.timeout : undefined,
      cacheSalt: fields.cache_salt,
      logprobs: details.logprobs,
      promptLogprobs: details.promptLogprobs,
      grammar: details.grammar,
      compressAfter: details.compressAfter,
      from: details.snapshot?.captured,
      pin: details.pin ?? (cache_control && pinOf(cache_control, Number.MAX_SAFE_INTEGER)),
      skipSpecialTokens: details.keepSpecialTokens ? false : fields.skip_special_tokens,
    }),
  };
}
