import { KvCacheError } from "@kvcache/core";
import { generateSamples, type TaskFamily, taskFamilies } from "../generate/generate-samples.ts";
import { type CountTokens, sliceOf } from "../generate/haystack.ts";
import { createRandom } from "../generate/random.ts";
import { type EvalSample, parseSamples } from "../sample.ts";

export interface CalibrationOptions {
  /** Samples as JSONL, or plain text; generated samples when absent. */
  readonly data?: string;
  /** Names the data in errors. */
  readonly source?: string;
  readonly count: number;
  /** Tokens of generated samples and of passages of plain text; they take turns. */
  readonly lengths: readonly number[];
  readonly seed: number;
  /** Prose that generated samples are hidden in. */
  readonly haystack: string;
  readonly countTokens: CountTokens;
  /** Families of generated samples; all of them when absent. */
  readonly tasks?: readonly TaskFamily[];
}

/**
 * Samples that a model is calibrated with: chosen from JSONL, cut from plain text (the answer is how a
 * passage goes on), or generated, of all task families. Equal options give equal samples. Throws
 * `invalid-file` or `invalid-argument` where there are fewer than asked for.
 */
export function calibrationSamples(options: CalibrationOptions): EvalSample[] {
  const { data, count, seed } = options;
  const random = createRandom(seed, "calibration");
  if (data === undefined) return random.shuffled(generated(options)).slice(0, count);
  if (!/^\s*\{/.test(data)) return passages(data, options);
  const samples = parseSamples(data, options.source);
  if (samples.length < count)
    throw new KvCacheError("invalid-argument", `The data hold ${samples.length} samples.`, {
      value: count,
      remedy: `Ask for ${samples.length} at most, or give more data.`,
    });
  return random.shuffled(samples).slice(0, count);
}

function generated({ count, ...rest }: CalibrationOptions): EvalSample[] {
  const { tasks = taskFamilies, lengths } = rest;
  return generateSamples({ ...rest, perCell: Math.ceil(count / (tasks.length * lengths.length)) });
}

/** Of a passage the last eighth is the answer. */
function passages(text: string, options: CalibrationOptions): EvalSample[] {
  const { count, lengths, seed, countTokens } = options;
  return Array.from({ length: count }, (_, i) => {
    const length = lengths[i % lengths.length]!;
    const random = createRandom(seed, "passage", length, i);
    const passage = sliceOf(random, text, length, countTokens);
    const ends = [...passage.matchAll(/\s+/g)].map(({ index }) => index);
    const cut = ends[Math.floor((7 * ends.length) / 8)] ?? Math.floor((7 * passage.length) / 8);
    return {
      id: `passage-${length}-${i}`,
      task: "passage",
      length,
      context: passage.slice(0, cut),
      turns: [{ question: "", answers: [passage.slice(cut)] }],
    };
  });
}
