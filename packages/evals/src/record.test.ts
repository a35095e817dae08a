import { expect, it } from "vitest";
import { type EvalSummary, summarise } from "./aggregate.ts";
import { type EvalRecord, parseRecords } from "./record.ts";

const record = (over: Partial<EvalRecord>): EvalRecord => ({
  version: 1,
  id: "a",
  task: "vt",
  length: 512,
  question: "hidden",
  policy: "knorm",
  budget: "0.5",
  score: 1,
  nll: 0.5,
  answer: "",
  promptTokens: 500,
  bytesBefore: 100,
  bytesAfter: 50,
  keptFraction: 0.5,
  kept: [250, 250],
  ...over,
});

it("leaves a half-written last line out and refuses others", () => {
  const line = JSON.stringify(record({}));
  expect(parseRecords(`${line}\n${line}`)).toHaveLength(2);
  expect(parseRecords(`${line}\n${line.slice(0, 40)}`)).toHaveLength(1);
  expect(() => parseRecords(`${line.slice(0, 40)}\n${line}\n`)).toThrow(/line 1 is not JSON/);
  expect(() => parseRecords('{"a":1}\n')).toThrow(/no evaluation record/);
});

it("averages over tasks, not over samples", () => {
  const [summary, other] = summarise([
    record({ id: "a", score: 1, nll: 1 }),
    record({ id: "b", score: 0, nll: 2 }),
    record({ id: "c", task: "cwe", score: 1, nll: 3 }),
    record({ id: "c", task: "cwe", budget: "0.1", score: 0 }),
  ]) as [EvalSummary, EvalSummary];
  expect(summary).toMatchObject({ samples: 3, score: 75, nll: 2.25, byTask: { vt: 50, cwe: 100 } });
  expect(other).toMatchObject({ budget: "0.1", samples: 1, score: 0 });
});
