import { KvCacheError } from "@kvcache/core";
import type { EvalSample, EvalTurn } from "../sample.ts";
import { type CountTokens, hide, sliceOf } from "./haystack.ts";
import {
  anyKind,
  facts,
  magicKeys,
  magicValues,
  type Needles,
  passKey,
  type ValueKind,
  variableChain,
} from "./needles.ts";
import { createRandom, type Random } from "./random.ts";
import { jsonTable, wordList } from "./word-lists.ts";

/** The families of model-tiny's card. */
export const taskFamilies = [
  "niah_single",
  "niah_multikey",
  "niah_multivalue",
  "niah_multiquery",
  "passkey",
  "vt",
  "kv_json",
  "fact_qa",
  "text_recall",
  "cwe",
  "fwe",
] as const;
export type TaskFamily = (typeof taskFamilies)[number];

export interface GenerateOptions {
  readonly tasks?: readonly TaskFamily[];
  /** Tokens of a prompt, about; one set of samples for each. */
  readonly lengths: readonly number[];
  /** Samples of each task and length. */
  readonly perCell: number;
  readonly seed: number;
  /** Prose with paragraphs that needles are hidden in. */
  readonly haystack: string;
  readonly countTokens: CountTokens;
}

const preface =
  "Some special information is hidden within the following text. Make sure to memorize it. I will quiz you about it afterwards.\n\n";

/**
 * Makes samples of the families that model-tiny is measured on; equal options give equal samples.
 * Throws `invalid-argument` for an unknown task, or a haystack shorter than a sample.
 */
export function generateSamples(options: GenerateOptions): EvalSample[] {
  const { tasks = taskFamilies, lengths, perCell, seed } = options;
  for (const task of tasks)
    if (!taskFamilies.includes(task))
      throw new KvCacheError("invalid-argument", `There is no task family "${task}".`, {
        value: task,
        remedy: `They are: ${taskFamilies.join(", ")}.`,
      });
  return lengths.flatMap((length) =>
    tasks.flatMap((task) =>
      Array.from({ length: perCell }, (_, i) => {
        const random = createRandom(seed, length, task, i);
        return {
          id: `${task}-${length}-${i}`,
          task,
          length,
          ...make(random, task, length, options),
        };
      }),
    ),
  );
}

function make(
  random: Random,
  task: TaskFamily,
  tokens: number,
  { haystack, countTokens }: GenerateOptions,
): { context: string; turns: readonly EvalTurn[] } {
  if (task === "cwe" || task === "fwe") return wordList(random, task, tokens, countTokens);
  if (task === "kv_json") return jsonTable(random, tokens, countTokens);
  if (task === "text_recall") return textRecall(random, tokens, haystack, countTokens);
  const needles: Needles = { put: [], ask: [] };
  hiding[task]!({ random, needles, tokens, seen: new Set(), kind: anyKind(random) });
  const shuffled = task === "niah_multikey" || task === "fact_qa";
  const single = task === "niah_single" || task === "passkey";
  const asked = shuffled ? random.shuffled(needles.ask) : needles.ask;
  const turns = asked.slice(0, single ? 1 : 2);
  const fixed = countTokens(
    [preface, ...needles.put.map(({ text }) => text), turns[0]!.question].join(""),
  );
  const text = sliceOf(random, haystack, Math.max(24, tokens - fixed - 5), countTokens);
  return { context: `${preface}${hide(random, text, needles.put)}\n\n`, turns };
}

interface Hiding {
  readonly random: Random;
  readonly needles: Needles;
  readonly seen: Set<string>;
  readonly kind: ValueKind;
  /** Tokens of the prompt. */
  readonly tokens: number;
}

/** What is hidden in a text, by task. */
const hiding: Readonly<Record<string, (given: Hiding) => void>> = {
  niah_single: ({ random, needles, seen }) => magicValues(random, needles, seen, "number"),
  niah_multikey({ random, needles, seen, kind, tokens }) {
    for (let i = 0; i < distractors(tokens); i++) magicValues(random, needles, seen, kind);
  },
  niah_multivalue({ random, needles, seen, kind }) {
    magicValues(random, needles, seen, kind, random.integer(2, 5));
    magicValues(random, needles, seen, kind, 2);
  },
  niah_multiquery({ random, needles, seen, kind, tokens }) {
    magicKeys(random, needles, seen, kind, random.integer(2, 5));
    magicKeys(random, needles, seen, kind, 2);
    for (let i = 0; i < distractors(tokens) >> 2; i++) magicValues(random, needles, seen, kind);
  },
  passkey: ({ random, needles }) => passKey(random, needles),
  vt({ random, needles, seen }) {
    for (let i = 0; i < 2; i++) variableChain(random, needles, seen, random.integer(2, 5));
  },
  fact_qa: ({ random, needles, seen, tokens }) =>
    facts(random, needles, seen, Math.max(3, Math.min(12, Math.floor(tokens / 256)))),
};

const distractors = (tokens: number) => Math.max(4, Math.min(32, Math.floor(tokens / 128)));

/** What follows a passage of twelve words: the next words of the text. */
function textRecall(random: Random, tokens: number, haystack: string, countTokens: CountTokens) {
  const [asked, scored] = [12, 6];
  const text = sliceOf(random, haystack, tokens - 60, countTokens);
  const words = [...text.matchAll(/\S+\s*/g)];
  for (let attempt = 0; attempt < 100; attempt++) {
    const first = random.integer(4, words.length - asked - scored - 4);
    const at = (i: number) => words[first + i]!.index;
    const passage = text.slice(at(0), at(asked)).trimEnd();
    if (text.indexOf(passage) !== text.lastIndexOf(passage)) continue;
    const answer = text.slice(at(0) + passage.length, at(asked + scored)).trimEnd();
    const question = `What comes directly after the following passage in the text?\n\n${passage}`;
    return { context: `${preface}${text}\n\n`, turns: [{ question, answers: [answer] }] };
  }
  throw new KvCacheError("invalid-argument", "The text repeats itself: no passage is unique.", {
    remedy: "Give another text.",
  });
}
