import { KvCacheError } from "@kvcache/core";
import type { Needle } from "./needles.ts";
import type { Random } from "./random.ts";

/** Counts a text's tokens: what makes a sample as long as it should be. */
export type CountTokens = (text: string) => number;

/** About `tokens` tokens of consecutive paragraphs of a text, from a random one on. */
export function sliceOf(
  random: Random,
  text: string,
  tokens: number,
  countTokens: CountTokens,
): string {
  const paragraphs = text.split(/\n{2,}/).filter((paragraph) => paragraph.trim() !== "");
  const counts = paragraphs.map((paragraph) => countTokens(`${paragraph}\n\n`));
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total < tokens)
    throw new KvCacheError(
      "invalid-argument",
      `A sample of ${tokens} tokens needs a longer text, this one has ${total}.`,
      { value: tokens, remedy: "Give more text, or ask for shorter samples." },
    );
  let latest = paragraphs.length - 1;
  for (let room = counts[latest]!; room < tokens && latest > 0; ) room += counts[--latest]!;
  const first = random.integer(0, latest + 1);
  const out: string[] = [];
  let left = tokens;
  for (let i = first; i < paragraphs.length && left > 0; i++) {
    out.push(counts[i]! <= left ? paragraphs[i]! : cut(paragraphs[i]!, left, countTokens));
    left -= counts[i]!;
  }
  return out.filter(Boolean).join("\n\n");
}

/** The longest beginning of whole words that has at most `tokens` tokens. */
function cut(paragraph: string, tokens: number, countTokens: CountTokens): string {
  const words = paragraph.split(" ");
  let [low, high] = [0, words.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (countTokens(words.slice(0, middle).join(" ")) <= tokens) low = middle;
    else high = middle - 1;
  }
  return words.slice(0, low).join(" ");
}

/** Puts needles into a text at depths that are uniform over it, chains in their order. */
export function hide(random: Random, text: string, needles: readonly Needle[]): string {
  const ends = (pattern: RegExp) =>
    [...text.matchAll(pattern)].map((match) => match.index + match[0].length);
  const paragraph = ends(/\n\n/g);
  const sentence = ends(/[.?!]["')”’]*(?= [A-Z“"])/g);
  const anywhere = [Math.floor(text.length / 2)];
  const spots = { paragraph, sentence };
  const placed = needles.map((needle) => {
    const own = [spots[needle.at], sentence, paragraph, anywhere].find(({ length }) => length > 0)!;
    const wanted = random.integer(0, text.length + 1);
    const at = own.reduce((best, spot) =>
      Math.abs(spot - wanted) < Math.abs(best - wanted) ? spot : best,
    );
    return { needle, at };
  });
  for (const chain of new Set(needles.map((needle) => needle.chain).filter(Boolean))) {
    const own = placed.filter(({ needle }) => needle.chain === chain);
    const depths = own.map(({ at }) => at).sort((a, b) => a - b);
    own.forEach((entry, i) => {
      entry.at = depths[i]!;
    });
  }
  let out = "";
  let from = 0;
  for (const { needle, at } of placed.sort((a, b) => a.at - b.at)) {
    out += text.slice(from, at) + needle.text;
    from = at;
  }
  return out + text.slice(from);
}
