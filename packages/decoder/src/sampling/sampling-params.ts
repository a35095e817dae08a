import { KvCacheError } from "@kvcache/core";

/** How the next token is chosen. A field that is absent or undefined is off. */
export interface SamplingParams {
  /** Divides the logits; 0 takes the likeliest token. Default 1. */
  readonly temperature?: number | undefined;
  /** Only the k likeliest tokens, and those that tie with the k-th; 0 is off. */
  readonly topK?: number | undefined;
  /** Only the likeliest tokens that together reach this probability, in (0, 1]. */
  readonly topP?: number | undefined;
  /** Only tokens with at least this fraction of the best token's probability, in [0, 1]. */
  readonly minP?: number | undefined;
  /** Above 1 makes every token of the prompt and the answer less likely. More than 0. */
  readonly repetitionPenalty?: number | undefined;
  /** Subtracted for each time that the token occurs in the answer. */
  readonly frequencyPenalty?: number | undefined;
  /** Subtracted once if the token occurs in the answer. */
  readonly presencePenalty?: number | undefined;
  /** Added to the logits of single tokens by id, before everything else; -Infinity bans a token. */
  readonly logitBias?: { readonly [tokenId: number]: number } | undefined;
  /** Of `createRandom`; the same seed draws the same tokens. */
  readonly seed?: number | undefined;
}

type NumericField = Exclude<keyof SamplingParams, "logitBias">;

const RULES: readonly (readonly [NumericField, (value: number) => boolean, string])[] = [
  ["temperature", (value) => value >= 0, "a finite number, 0 or more"],
  ["topK", (value) => Number.isInteger(value) && value >= 0, "an integer, 0 or more"],
  ["topP", (value) => value > 0 && value <= 1, "more than 0 and at most 1"],
  ["minP", (value) => value >= 0 && value <= 1, "from 0 to 1"],
  ["repetitionPenalty", (value) => value > 0, "a finite number above 0"],
  ["frequencyPenalty", () => true, "a finite number"],
  ["presencePenalty", () => true, "a finite number"],
  ["seed", (value) => Number.isSafeInteger(value) && value >= 0, "a safe integer, 0 or more"],
];

/** Returns `params`, or throws `invalid-argument` that names the first field out of its range. */
export function checkSamplingParams(params: SamplingParams): SamplingParams {
  for (const [field, accepts, range] of RULES) {
    const value: unknown = params[field];
    if (value === undefined) continue;
    if (typeof value !== "number" || !Number.isFinite(value) || !accepts(value)) {
      throw invalidField(field, range, value);
    }
  }
  for (const [id, bias] of Object.entries(params.logitBias ?? {})) {
    if (!/^\d+$/.test(id) || typeof bias !== "number" || !(bias < Number.POSITIVE_INFINITY)) {
      throw invalidField("logitBias", "an object of numbers by token id", { [id]: bias });
    }
  }
  return params;
}

function invalidField(field: string, range: string, value: unknown): KvCacheError {
  return new KvCacheError("invalid-argument", `${field} must be ${range}.`, {
    value,
    remedy: `Correct ${field} or leave it out.`,
  });
}
