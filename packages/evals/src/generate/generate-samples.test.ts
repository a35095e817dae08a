import { describe, expect, it } from "vitest";
import { scoreAnswer } from "../score-answer.ts";
import { generateSamples, taskFamilies } from "./generate-samples.ts";

const countTokens = (text: string) => Math.ceil(text.length / 4);
const sentence = (i: number) =>
  `Sentence number ${i} of this long story says something quite plain.`;
const haystack = Array.from({ length: 400 }, (_, p) =>
  Array.from({ length: 4 }, (_, i) => sentence(4 * p + i)).join(" "),
).join("\n\n");
const options = { lengths: [512, 2048], perCell: 3, seed: 7, haystack, countTokens };

describe("generated samples", () => {
  const samples = generateSamples(options);

  it("are the same for the same seed, and others for another", () => {
    expect(generateSamples(options)).toEqual(samples);
    expect(generateSamples({ ...options, seed: 8 })).not.toEqual(samples);
  });

  it("hold about as many tokens as asked for", () => {
    expect(samples).toHaveLength(2 * 3 * taskFamilies.length);
    for (const { id, length, context, turns } of samples) {
      const tokens = countTokens(context + turns[0]!.question);
      expect(tokens / length, id).toBeGreaterThan(0.7);
      expect(tokens / length, id).toBeLessThan(1.1);
    }
  });

  it("hold their answers where the question says", () => {
    for (const { id, task, context, turns } of samples)
      for (const { answers } of turns) {
        expect(scoreAnswer(task, answers.join(", "), answers), id).toBe(1);
        for (const answer of answers) expect(context, id).toContain(answer.trim());
        if (task === "text_recall")
          expect(context, id).toContain(turns[0]!.question.split("\n\n")[1]!);
      }
  });

  it("keep variable chains and listed values in order", () => {
    for (const { task, context, turns } of samples) {
      if (task !== "vt" && task !== "niah_multivalue") continue;
      for (const { answers } of turns) {
        const at = answers.map((answer) =>
          context.indexOf(task === "vt" ? `VAR ${answer} = ` : `is: ${answer}.`),
        );
        expect(at).toEqual([...at].sort((a, b) => a - b));
      }
    }
  });

  it("count the words they ask for", () => {
    for (const { task, context, turns } of samples) {
      if (task !== "cwe" && task !== "fwe") continue;
      const counts = new Map<string, number>();
      for (const word of context.split("\n\n")[1]!.split(" "))
        counts.set(word, (counts.get(word) ?? 0) + 1);
      const top = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 3);
      expect(new Set(top.map(([word]) => word))).toEqual(new Set(turns[0]!.answers));
    }
  });
});

it("refuses a text that is too short and a task that does not exist", () => {
  expect(() => generateSamples({ ...options, lengths: [100_000] })).toThrow(/longer text/);
  expect(() => generateSamples({ ...options, tasks: ["nothing" as "vt"] })).toThrow(
    /no task family/,
  );
});
