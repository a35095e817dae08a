import type { EvalTurn } from "../sample.ts";
import type { Random } from "./random.ts";
import { adjectives, cities, firstNames, items, jobs, lastNames, nouns } from "./words.ts";

/** Something put into a text: after a sentence, or as a paragraph of its own. */
export interface Needle {
  readonly text: string;
  readonly at: "sentence" | "paragraph";
  /** Needles of one chain keep their order. */
  readonly chain?: string;
}

/** What is hidden, and the questions about it. */
export interface Needles {
  readonly put: Needle[];
  readonly ask: EvalTurn[];
}

const kinds = ["number", "word", "code"] as const;
export type ValueKind = (typeof kinds)[number];
export const anyKind = (random: Random): ValueKind => random.pick(kinds);

const digits = (random: Random, count: number) =>
  String(random.integer(1, 10)) +
  Array.from({ length: count - 1 }, () => random.integer(0, 10)).join("");
export const keyWord = (random: Random) => `${random.pick(adjectives)}-${random.pick(nouns)}`;

export function magicValue(random: Random, kind: ValueKind): string {
  if (kind === "number") return digits(random, 7);
  if (kind === "word") return keyWord(random);
  return Array.from({ length: 8 }, () => random.pick([..."0123456789abcdef"])).join("");
}

/** `count` different values of `make`, none of them in `seen`, which takes them up. */
export function distinct(count: number, make: () => string, seen = new Set<string>()): string[] {
  const out: string[] = [];
  while (out.length < count) {
    const value = make();
    if (seen.has(value)) continue;
    seen.add(value);
    out.push(value);
  }
  return out;
}

const magic = (kind: ValueKind, key: string, value: string): Needle["text"] =>
  ` One of the special magic ${kind}s for ${key} is: ${value}.`;

/** One key with one value, or with several that are asked for together. */
export function magicValues(
  random: Random,
  needles: Needles,
  seen: Set<string>,
  kind: ValueKind,
  count = 1,
): void {
  const [key] = distinct(1, () => keyWord(random), seen) as [string];
  const values = distinct(count, () => magicValue(random, kind));
  for (const value of values)
    needles.put.push({
      text: magic(kind, key, value),
      at: "sentence",
      ...(count > 1 && { chain: `${kind} ${key}` }),
    });
  const question =
    count === 1
      ? `What is the special magic ${kind} for ${key} mentioned in the provided text?`
      : `What are all the special magic ${kind}s for ${key} mentioned in the provided text?`;
  needles.ask.push({ question, answers: values });
}

/** Several keys with a value each, asked for in one question. */
export function magicKeys(
  random: Random,
  needles: Needles,
  seen: Set<string>,
  kind: ValueKind,
  count: number,
): void {
  const keys = distinct(count, () => keyWord(random), seen);
  const values = distinct(count, () => magicValue(random, kind));
  keys.forEach((key, i) => {
    needles.put.push({ text: magic(kind, key, values[i]!), at: "sentence" });
  });
  const order = random.shuffled(keys.map((_, i) => i));
  const names = order.map((i) => keys[i]!);
  const listed =
    names.length === 1 ? names[0]! : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
  needles.ask.push({
    question: `What are the special magic ${kind}s for ${listed} mentioned in the provided text?`,
    answers: order.map((i) => values[i]!),
  });
}

export function passKey(random: Random, needles: Needles): void {
  const key = digits(random, 5);
  needles.put.push({
    text: `The pass key is ${key}. Remember it. ${key} is the pass key.\n\n`,
    at: "paragraph",
  });
  needles.ask.push({ question: "What is the pass key?", answers: [key] });
}

/** A variable and others that are set to it, one after the other. */
export function variableChain(
  random: Random,
  needles: Needles,
  seen: Set<string>,
  hops: number,
): void {
  const [value] = distinct(1, () => digits(random, 5), seen) as [string];
  const letters = () => String.fromCharCode(...[0, 0, 0].map(() => random.integer(65, 91)));
  const names = distinct(hops + 1, letters, seen);
  names.forEach((name, i) => {
    const right = i === 0 ? value : `VAR ${names[i - 1]}`;
    needles.put.push({ text: `VAR ${name} = ${right}\n\n`, at: "paragraph", chain: value });
  });
  needles.ask.push({
    question: `Find all variables that are assigned the value ${value} in the text above.`,
    answers: names,
  });
}

/** One to three facts about each of some people. */
export function facts(random: Random, needles: Needles, seen: Set<string>, people: number): void {
  const names = distinct(
    people,
    () => `${random.pick(firstNames)} ${random.pick(lastNames)}`,
    seen,
  );
  for (const name of names) {
    const year = String(random.integer(1800, 2025));
    const [home, away] = [random.pick(cities), random.pick(cities)];
    const [job, item] = [random.pick(jobs), random.pick(items)];
    const all: readonly (readonly [string, string, string])[] = [
      [`${name} lives in ${home}.`, `Which city does ${name} live in?`, home],
      [`${name} works as a ${job}.`, `What does ${name} work as?`, job],
      [`${name} bought a ${item} last week.`, `What did ${name} buy last week?`, item],
      [`${name} was born in ${year}.`, `In which year was ${name} born?`, year],
      [
        `"I am leaving for ${away} tomorrow," said ${name}.`,
        `Which city did ${name} say they were leaving for?`,
        away,
      ],
    ];
    for (const [text, question, answer] of random.shuffled(all).slice(0, random.integer(1, 4))) {
      needles.put.push({ text: ` ${text}`, at: "sentence" });
      needles.ask.push({ question, answers: [answer] });
    }
  }
}
