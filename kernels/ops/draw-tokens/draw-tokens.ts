import { defineKernel, hostArray, type Tensor, type TokenDraws } from "@kvcache/core";

export interface DrawTokensParams {
  /** f32 [numRows, vocabSize]. */
  readonly logits: Tensor;
  /** u32 [numRows, 4]: the bits of two f64 numbers, temperature and random; see `drawSettings`. */
  readonly settings: Tensor;
  /** i32 [numRows]. */
  readonly tokens: Tensor;
}

/** What `drawTokens` reads of the draws of `temperatures.length` rows. */
export function drawSettings({ temperatures, randoms }: TokenDraws): Uint32Array {
  const pairs = new Float64Array(2 * temperatures.length);
  temperatures.forEach((temperature, row) => {
    pairs[2 * row] = temperature;
    pairs[2 * row + 1] = randoms[row]!;
  });
  return new Uint32Array(pairs.buffer);
}

/**
 * A token of every row, drawn from softmax(logits / temperature) with the row's number in [0, 1);
 * temperature 0 takes the largest logit, the lowest id of equals. −1 where a logit is NaN or +∞, or
 * all are −∞.
 */
export const drawTokens = defineKernel<DrawTokensParams>({
  name: "draw-tokens",
  reference(params) {
    const logits = hostArray(params.logits, "f32");
    const words = hostArray(params.settings, "u32");
    const tokens = hostArray(params.tokens, "i32");
    const settings = new Float64Array(words.slice().buffer);
    const vocabSize = logits.length / tokens.length;
    for (let row = 0; row < tokens.length; row++) {
      const own = logits.subarray(row * vocabSize, (row + 1) * vocabSize);
      tokens[row] = drawToken(own, settings[2 * row]!, settings[2 * row + 1]!);
    }
  },
  native: ({ logits, settings, tokens }) => ({
    inputs: [logits, settings],
    outputs: [tokens],
    integers: [tokens.length],
    floats: [],
  }),
});

function drawToken(logits: Float32Array, temperature: number, random: number): number {
  const best = likeliest(logits);
  if (best < 0 || temperature === 0) return best;
  const highest = Math.fround(logits[best]! / temperature);
  const weights = Float64Array.from(logits, (logit) =>
    Math.exp(Math.fround(logit / temperature) - highest),
  );
  let left = random * weights.reduce((total, weight) => total + weight, 0);
  for (let id = 0; id < weights.length; id++) {
    left -= weights[id]!;
    if (left < 0) return id;
  }
  return weights.findLastIndex((weight) => weight > 0);
}

function likeliest(logits: Float32Array): number {
  let best = -1;
  let highest = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id]!;
    if (Number.isNaN(logit) || logit === Number.POSITIVE_INFINITY) return -1;
    if (logit <= highest) continue;
    highest = logit;
    best = id;
  }
  return best;
}
