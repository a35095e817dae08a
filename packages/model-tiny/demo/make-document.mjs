// Writes document.txt and questions.json: a stretch of The Adventures of Sherlock Holmes (public
// domain, from the model's evaluation text) with facts planted at even depths, in the wordings that
// the model was trained on. Run: node make-document.mjs
import { readFileSync, writeFileSync } from "node:fs";

const here = (name) => new URL(name, import.meta.url);
const haystack = readFileSync(here("../tasks/tasks.jsonl"), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line))
  .find((sample) => sample.id === "text_recall-8192-0")
  .context.trim();

/** [depth in 0 … 1, "sentence" | "paragraph", text] */
const planted = [
  [0.06, "sentence", " One of the special magic numbers for amber-lantern is: 4471902."],
  [0.14, "sentence", " Clara Novak lives in Lisbon."],
  [0.23, "sentence", " One of the special magic numbers for silver-harbor is: 8150337."],
  [0.34, "paragraph", "The pass key is 60284. Remember it. 60284 is the pass key.\n\n"],
  [0.45, "sentence", " Henry Torres works as a carpenter."],
  [0.56, "sentence", " One of the special magic codes for quiet-meadow is: 5be91d07."],
  [0.67, "sentence", " Sofia Weber bought a telescope last week."],
  [0.78, "sentence", " One of the special magic numbers for golden-compass is: 2936618."],
  [0.9, "sentence", " Arthur Larsen was born in 1873."],
];
const questions = [
  ["What is the special magic number for amber-lantern mentioned in the provided text?", "4471902"],
  ["What is the special magic number for silver-harbor mentioned in the provided text?", "8150337"],
  ["What is the pass key?", "60284"],
  ["What is the special magic code for quiet-meadow mentioned in the provided text?", "5be91d07"],
  ["Which city does Clara Novak live in?", "Lisbon"],
];

/** The sentence or paragraph start nearest to a depth. */
function boundary(depth, kind) {
  const pattern = kind === "sentence" ? /[.?!]"?(?= [A-Z])/g : /\n\n(?=\S)/g;
  let best = 0;
  for (const match of haystack.matchAll(pattern)) {
    const at = match.index + match[0].length;
    if (Math.abs(at - depth * haystack.length) < Math.abs(best - depth * haystack.length))
      best = at;
  }
  return best;
}

const inserts = planted
  .map(([depth, kind, text]) => [boundary(depth, kind), text])
  .sort((a, b) => a[0] - b[0]);
let document = "";
let last = 0;
for (const [at, text] of inserts) {
  document += haystack.slice(last, at) + text;
  last = at;
}
document += `${haystack.slice(last)}\n\n`;
writeFileSync(here("document.txt"), document);
writeFileSync(
  here("questions.json"),
  `${JSON.stringify(
    questions.map(([question, ...answers]) => ({ question, answers })),
    null,
    2,
  )}\n`,
);
