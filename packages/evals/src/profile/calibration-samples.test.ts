import { expect, it } from "vitest";
import { taskFamilies } from "../generate/generate-samples.ts";
import { calibrationSamples } from "./calibration-samples.ts";

const haystack = Array.from(
  { length: 300 },
  (_, i) =>
    `Paragraph ${i} of a long story. It says the number ${i * 7919} once. Nothing else comes here.`,
).join("\n\n");
const countTokens = (text: string) => Math.ceil(text.length / 4);
const options = { count: 22, lengths: [256, 512], seed: 3, haystack, countTokens };

it("generates all families, the same for the same seed", () => {
  const samples = calibrationSamples(options);
  expect(new Set(samples.map(({ task }) => task))).toEqual(new Set(taskFamilies));
  expect(calibrationSamples(options)).toEqual(samples);
  expect(calibrationSamples({ ...options, seed: 4 })).not.toEqual(samples);
  const tasks = ["kv_json"] as const;
  const some = calibrationSamples({ ...options, tasks, count: 3 });
  expect(some.map(({ task }) => task)).toEqual(["kv_json", "kv_json", "kv_json"]);
});

it("cuts plain text into passages that the answer goes on with", () => {
  const samples = calibrationSamples({ ...options, data: haystack, count: 5 });
  expect(samples.map(({ length }) => length)).toEqual([256, 512, 256, 512, 256]);
  for (const { context, turns, length } of samples) {
    const passage = context + turns[0]!.answers[0]!;
    expect(haystack.includes(passage)).toBe(true);
    expect(countTokens(passage) / length).toBeGreaterThan(0.8);
    expect(context.length / passage.length).toBeCloseTo(7 / 8, 1);
  }
});

it("chooses from JSONL, and says when there is too little", () => {
  const lines = Array.from({ length: 4 }, (_, i) =>
    JSON.stringify({
      ...{ id: `s${i}`, task: "vt", length: 9, context: "c" },
      turns: [{ question: "q", answers: ["a"] }],
    }),
  );
  const data = lines.join("\n");
  const ids = calibrationSamples({ ...options, data, count: 3 }).map(({ id }) => id);
  expect(new Set(ids).size).toBe(3);
  expect(() => calibrationSamples({ ...options, data })).toThrow("hold 4 samples");
  expect(() => calibrationSamples({ ...options, data: "{}", count: 1 })).toThrow("line 1");
});
