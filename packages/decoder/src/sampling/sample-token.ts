import { KvCacheError } from "@kvcache/core";
import { adjustLogits, type TokenHistory } from "./adjust-logits.ts";
import { expNegative } from "./exp-negative.ts";
import { filterTokens, type KeptTokens } from "./filter-tokens.ts";
import type { Random } from "./random.ts";
import type { SamplingParams } from "./sampling-params.ts";

/**
 * Chooses the next token from logits f32 [vocabSize], which stay as they are. The steps and their
 * order are those of `samplingProbabilities`; temperature 0 takes the likeliest token, the lowest id
 * among equals, after bias and penalties. `params` must have passed `checkSamplingParams`.
 * Throws `invalid-argument` when a logit is NaN or +Infinity, or all are -Infinity.
 */
export function sampleToken(
  logits: Float32Array,
  params: SamplingParams,
  history: TokenHistory,
  random: Random,
): number {
  const { temperature = 1, topK = 0, topP = 1, minP = 0 } = params;
  if (temperature === 0) return likeliest(adjustLogits(logits, params, history));
  if (topK <= 0 && topP >= 1 && minP <= 0)
    return drawAny(adjustLogits(logits, params, history), temperature, random);
  const { ids, weights, total } = keptTokens(logits, params, history);
  let left = random() * total;
  for (let i = 0; i < ids.length; i++) {
    left -= weights[i]!;
    if (left < 0) return ids[i]!;
  }
  // Rounding may leave a last crumb, which falls to the last token that has any weight.
  return ids[weights.findLastIndex((weight) => weight > 0)]!;
}

/** Weights of one draw, reused by the next. */
let scratch = new Float64Array(0);

/** Draws from all tokens: what the general way does, without making lists of them. */
function drawAny(logits: Float32Array, temperature: number, random: Random): number {
  const count = logits.length;
  if (scratch.length < count) scratch = new Float64Array(count);
  const weights = scratch;
  const best = Math.fround(logits[likeliest(logits)]! / temperature);
  let total = 0;
  for (let id = 0; id < count; id++) {
    const weight = expNegative(Math.fround(logits[id]! / temperature) - best);
    weights[id] = weight;
    total += weight;
  }
  let left = random() * total;
  for (let id = 0; id < count; id++) {
    left -= weights[id]!;
    if (left < 0) return id;
  }
  return weights.subarray(0, count).findLastIndex((weight) => weight > 0);
}

/**
 * What `sampleToken` draws from. Order, as in transformers with the penalties of the OpenAI API
 * where vLLM puts them: logit bias, repetition penalty, frequency and presence penalty,
 * temperature, top-k, top-p, min-p, softmax.
 * @returns probabilities f32 [vocabSize] that sum to 1, and kept [vocabSize], 1 for every token that
 *   survived the filters (its probability may still round to 0)
 */
export function samplingProbabilities(
  logits: Float32Array,
  params: SamplingParams,
  history: TokenHistory,
): { probabilities: Float32Array; kept: Uint8Array } {
  const probabilities = new Float32Array(logits.length);
  const kept = new Uint8Array(logits.length);
  const { ids, weights, total } =
    params.temperature === 0
      ? onlyOne(likeliest(adjustLogits(logits, params, history)))
      : keptTokens(logits, params, history);
  ids.forEach((id, i) => {
    kept[id] = 1;
    probabilities[id] = weights[i]! / total;
  });
  return { probabilities, kept };
}

function onlyOne(id: number): KeptTokens {
  return { ids: Int32Array.of(id), weights: Float64Array.of(1), total: 1 };
}

function keptTokens(
  logits: Float32Array,
  params: SamplingParams,
  history: TokenHistory,
): KeptTokens {
  const { temperature = 1 } = params;
  const adjusted = adjustLogits(logits, params, history);
  if (temperature === 1) return filterTokens(adjusted, adjusted[likeliest(adjusted)]!, params);
  const scores = new Float32Array(adjusted.length);
  for (let id = 0; id < scores.length; id++) scores[id] = adjusted[id]! / temperature;
  return filterTokens(scores, scores[likeliest(scores)]!, params);
}

/** The id of the largest logit, in one pass that also finds logits nothing can be drawn from. */
function likeliest(logits: Float32Array): number {
  let best = -1;
  let bestLogit = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id]!;
    if (logit > bestLogit) {
      bestLogit = logit;
      best = id;
    } else if (Number.isNaN(logit)) throw notFinite(logit, id);
  }
  if (bestLogit === Number.POSITIVE_INFINITY) throw notFinite(bestLogit, best);
  if (best >= 0) return best;
  throw new KvCacheError("invalid-argument", "All logits are -Infinity: no token can be chosen.", {
    value: logits.length,
    remedy: "Ban fewer tokens.",
  });
}

function notFinite(logit: number, id: number): KvCacheError {
  return new KvCacheError("invalid-argument", `The logit of token ${id} is ${logit}, not finite.`, {
    value: logit,
    remedy: "Check the model's weights for NaN and Infinity.",
  });
}
