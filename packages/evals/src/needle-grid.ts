import type { CountTokens } from "./generate/haystack.ts";
import { sliceOf } from "./generate/haystack.ts";
import { keyWord, magicValue } from "./generate/needles.ts";
import { createRandom } from "./generate/random.ts";
import type { EvalSample } from "./sample.ts";

export interface NeedleGridOptions {
  readonly lengths: readonly number[];
  /** Where the needle stands, as fractions of the text: 0 = its beginning. */
  readonly depths: readonly number[];
  readonly seed: number;
  readonly haystack: string;
  readonly countTokens: CountTokens;
}

/** One needle in a text, for every length and depth. */
export function needleGrid(options: NeedleGridOptions): EvalSample[] {
  const { lengths, depths, seed, haystack, countTokens } = options;
  return lengths.flatMap((length) =>
    depths.map((depth) => {
      const random = createRandom(seed, "needle", length, depth);
      const key = keyWord(random);
      const value = magicValue(random, "number");
      const question = `What is the special magic number for ${key} mentioned in the provided text?`;
      const needle = ` One of the special magic numbers for ${key} is: ${value}.`;
      const fixed = countTokens(needle + question);
      const text = sliceOf(random, haystack, Math.max(24, length - fixed - 8), countTokens);
      const ends = [...text.matchAll(/[.?!]["')”’]*(?=\s)/g)].map((m) => m.index + m[0].length);
      const wanted = depth * text.length;
      const at = [0, ...ends, text.length].reduce((best, spot) =>
        Math.abs(spot - wanted) < Math.abs(best - wanted) ? spot : best,
      );
      return {
        id: `needle-${length}-${depth}`,
        task: "needle",
        length,
        context: `${text.slice(0, at)}${needle}${text.slice(at)}\n\n`,
        turns: [{ question, answers: [value] }],
      };
    }),
  );
}

/** The depth that a sample of `needleGrid` stands for; undefined for other samples. */
export function needleDepth(id: string): number | undefined {
  const match = /^needle-\d+-(\d+(?:\.\d+)?)$/.exec(id);
  return match ? Number(match[1]) : undefined;
}
