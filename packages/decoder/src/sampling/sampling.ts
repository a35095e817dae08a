import type { Random } from "./random.ts";
import type { SamplingParams } from "./sampling-params.ts";
import { atLeastKth, likeliest } from "./top-tokens.ts";

/** The tokens of a sequence so far: penalties depend on them. */
export interface TokenHistory {
  readonly promptIds: ArrayLike<number>;
  readonly generatedIds: ArrayLike<number>;
}

/** Logits after bias and penalties, in float64. Temperature is not applied yet. */
function penalised(
  logits: Float32Array,
  params: SamplingParams,
  history: TokenHistory,
): Float64Array {
  const out = Float64Array.from(logits);
  for (const [id, bias] of Object.entries(params.logitBias ?? {}))
    if (Number(id) < out.length) out[Number(id)]! += bias;

  const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = params;
  const { promptIds, generatedIds } = history;
  if (repetitionPenalty !== 1) {
    const seen = new Set<number>();
    for (let i = 0; i < promptIds.length; i++) seen.add(promptIds[i]!);
    for (let i = 0; i < generatedIds.length; i++) seen.add(generatedIds[i]!);
    for (const id of seen)
      if (id < out.length)
        out[id] = out[id]! < 0 ? out[id]! * repetitionPenalty : out[id]! / repetitionPenalty;
  }
  if (frequencyPenalty !== 0 || presencePenalty !== 0) {
    const counts = new Map<number, number>();
    for (let i = 0; i < generatedIds.length; i++)
      counts.set(generatedIds[i]!, (counts.get(generatedIds[i]!) ?? 0) + 1);
    for (const [id, count] of counts)
      if (id < out.length) out[id]! -= frequencyPenalty * count + presencePenalty;
  }
  return out;
}

/** Tokens that survive the filters with their probabilities, likeliest first. */
interface Candidates {
  ids: number[];
  probabilities: Float64Array;
}

/** Softmax over `ids` of logits / temperature, likeliest first (lower id first among equals). */
function softmax(logits: Float64Array, ids: number[], temperature: number): Candidates {
  ids.sort((a, b) => logits[b]! - logits[a]! || a - b);
  const max = logits[ids[0]!]!;
  const probabilities = Float64Array.from(ids, (id) => Math.exp((logits[id]! - max) / temperature));
  return normalised(ids, probabilities);
}

function normalised(ids: number[], probabilities: Float64Array): Candidates {
  let total = 0;
  for (const p of probabilities) total += p;
  return { ids, probabilities: probabilities.map((p) => p / total) };
}

const first = ({ ids, probabilities }: Candidates, count: number): Candidates =>
  count === ids.length
    ? { ids, probabilities }
    : normalised(ids.slice(0, count), probabilities.slice(0, count));

/** The shortest head whose mass reaches p: a token stays if the mass before it is below p. */
function topP(candidates: Candidates, p: number): Candidates {
  let mass = 0;
  let count = 0;
  while (count < candidates.ids.length && (count === 0 || mass < p))
    mass += candidates.probabilities[count++]!;
  return first(candidates, count);
}

function minP(candidates: Candidates, fraction: number): Candidates {
  const floor = fraction * candidates.probabilities[0]!;
  let count = 1;
  while (count < candidates.ids.length && candidates.probabilities[count]! >= floor) count++;
  return first(candidates, count);
}

/**
 * Bias, penalties, temperature, top-k, top-p, min-p, in this order: the order of transformers'
 * generate(), with the OpenAI penalties after the repetition penalty. Every filter renormalises.
 */
function candidatesOf(
  logits: Float32Array,
  params: SamplingParams,
  history: TokenHistory,
): Candidates {
  const values = penalised(logits, params, history);
  const { temperature = 1, topK = 0 } = params;
  const k = Math.min(topK, values.length);
  const ids = atLeastKth(values, k > 0 ? k : values.length);
  if (ids.length === 0) ids.push(likeliest(logits));
  let candidates = softmax(values, ids, temperature === 0 ? 1 : temperature);
  if (temperature === 0) return first(candidates, 1);
  if (params.topP !== undefined && params.topP < 1) candidates = topP(candidates, params.topP);
  if (params.minP) candidates = minP(candidates, params.minP);
  return candidates;
}

/**
 * The distribution that `sampleToken` draws from: probabilities f32 [vocabSize], and 1 in `kept`
 * for every token that survived the filters.
 */
export function samplingProbabilities(
  logits: Float32Array,
  params: SamplingParams,
  history: TokenHistory,
): { probabilities: Float32Array; kept: Uint8Array } {
  const probabilities = new Float32Array(logits.length);
  const kept = new Uint8Array(logits.length);
  const { ids, probabilities: mass } = candidatesOf(logits, params, history);
  for (let i = 0; i < ids.length; i++) {
    probabilities[ids[i]!] = mass[i]!;
    kept[ids[i]!] = 1;
  }
  return { probabilities, kept };
}

/** Draws the next token from logits f32 [vocabSize]. `params` must have passed `checkSamplingParams`. */
export function sampleToken(
  logits: Float32Array,
  params: SamplingParams,
  history: TokenHistory,
  random: Random,
): number {
  if (params.temperature === 0) {
    const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0, logitBias } = params;
    const plain = repetitionPenalty === 1 && !frequencyPenalty && !presencePenalty && !logitBias;
    return likeliest(plain ? logits : penalised(logits, params, history));
  }
  const { ids, probabilities } = candidatesOf(logits, params, history);
  let rest = random();
  for (let i = 0; i < ids.length; i++) {
    rest -= probabilities[i]!;
    if (rest < 0) return ids[i]!;
  }
  return ids.at(-1)!;
}
