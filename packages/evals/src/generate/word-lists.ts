import type { EvalTurn } from "../sample.ts";
import type { CountTokens } from "./haystack.ts";
import { anyKind, distinct, keyWord, magicValue } from "./needles.ts";
import type { Random } from "./random.ts";
import { adjectives, nouns } from "./words.ts";

/** A context that is made up whole, and the questions about it. */
export interface MadeContext {
  readonly context: string;
  readonly turns: readonly EvalTurn[];
}

const most = 3;
const repeated = (word: string, count: number): string[] => new Array<string>(count).fill(word);

/** cwe: three words are common, the others rare. */
function commonWords(random: Random, total: number): { list: string[]; answers: string[] } {
  const words = random.shuffled([...adjectives, ...nouns]);
  const common =
    total <= 1600 ? Math.min(Math.max(4, Math.floor(total / 14)), 30) : Math.floor(total / 20);
  let rest = total - most * common;
  // The pool is small: long lists repeat rare words more.
  const enough = Math.floor((2 * rest) / (words.length - most)) + 2;
  const rare = Math.max(2, Math.min(common - 1, enough));
  const list = words.slice(0, most).flatMap((word) => repeated(word, common));
  for (const word of words.slice(most)) {
    const count = Math.min(rest, random.integer(1, rare));
    list.push(...repeated(word, count));
    rest -= count;
  }
  const mixed = random.shuffled(list);
  const answers = words.slice(0, most).sort((a, b) => mixed.indexOf(a) - mixed.indexOf(b));
  return { list: mixed, answers };
}

/** fwe: frequencies fall like a power law. */
function frequentWords(random: Random, total: number): { list: string[]; answers: string[] } {
  const words = random.shuffled([...adjectives, ...nouns]).slice(0, 40);
  const exponent = 1.2 + 0.8 * random.next();
  const weights = words.map((_, i) => (i + 1) ** -exponent);
  const sum = weights.reduce((a, b) => a + b, 0);
  const counts = weights.map((weight) => Math.max(1, Math.floor((weight / sum) * total)));
  for (let i = most - 1; i >= 0; i--) counts[i] = Math.max(counts[i]!, counts[i + 1]! + 1);
  const list = words.flatMap((word, i) => repeated(word, counts[i]!));
  return { list: random.shuffled(list), answers: words.slice(0, most) };
}

const questions = {
  cwe: "What are the 3 most common words in the above list?",
  fwe: "What are the three most frequent words in the above list, from the most frequent to the least frequent?",
};

/** A list of words of about `tokens` tokens. */
export function wordList(
  random: Random,
  task: "cwe" | "fwe",
  tokens: number,
  countTokens: CountTokens,
): MadeContext {
  const make = task === "cwe" ? commonWords : frequentWords;
  for (let budget = tokens - 60; ; budget = Math.floor(budget * 0.95)) {
    const { list, answers } = make(random, Math.max(12, Math.floor(budget / 1.35)));
    const context = `Below is a list of words.\n\n${list.join(" ")}\n\n`;
    if (countTokens(context) <= tokens || budget < 20)
      return { context, turns: [{ question: questions[task], answers }] };
  }
}

/** JSON lines that fill the context, then look-ups. */
export function jsonTable(random: Random, tokens: number, countTokens: CountTokens): MadeContext {
  const kind = anyKind(random);
  const seen = new Set<string>();
  const rows: { key: string; value: string }[] = [];
  const head = "Below is a list of JSON records.\n\n";
  let room = tokens - countTokens(head) - 40;
  while (rows.length < 2 || room > 0) {
    const [key] = distinct(1, () => keyWord(random), seen) as [string];
    const value = magicValue(random, kind);
    room -= countTokens(`{"${key}": "${value}"}\n`);
    rows.push({ key, value });
  }
  const asked = random.shuffled(rows).slice(0, 2);
  return {
    context: `${head}${rows.map(({ key, value }) => `{"${key}": "${value}"}\n`).join("")}\n`,
    turns: asked.map(({ key, value }) => ({
      question: `What is the value of the key "${key}"?`,
      answers: [value],
    })),
  };
}
