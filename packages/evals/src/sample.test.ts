import { expect, it } from "vitest";
import { parseSamples } from "./sample.ts";

const sample = {
  id: "a",
  task: "vt",
  length: 9,
  context: "c",
  turns: [{ question: "q", answers: ["x"] }],
};
const lines = (...rows: unknown[]) => rows.map((row) => JSON.stringify(row)).join("\n");

it("reads samples, blank lines aside", () => {
  expect(parseSamples(`${lines(sample, { ...sample, id: "b" })}\n\n`)).toHaveLength(2);
});

it.each([
  ["", /holds no samples/],
  ["{", /line 1 is not JSON/],
  [lines(sample, { ...sample, id: 3 }), /line 2: id must be a text/],
  [lines({ ...sample, turns: [] }), /turns must name/],
  [lines({ ...sample, turns: [{ question: "q", answers: [] }] }), /needs answers/],
  [lines(sample, sample), /two samples "a"/],
])("refuses %j", (text, message) => {
  expect(() => parseSamples(text)).toThrow(message);
});
