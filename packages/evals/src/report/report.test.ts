import { expect, it } from "vitest";
import type { EvalRecord } from "../record.ts";
import { createReport } from "./report.ts";

const record = (policy: string, budget: string, id: string, score: number): EvalRecord => ({
  version: 1,
  id,
  task: id.startsWith("needle") ? "needle" : "vt",
  length: 512,
  question: "hidden",
  policy,
  budget,
  score,
  nll: 1 - score,
  answer: "<b>",
  promptTokens: 100,
  bytesBefore: 4,
  bytesAfter: 2,
  keptFraction: Number(budget),
  kept: [20, 30, 40, 50],
});

it("makes one page that needs nothing from elsewhere, and a table of the same numbers", async () => {
  const records = [
    record("full", "1", "a", 1),
    ...["0.5", "0.2"].flatMap((budget) => [
      record('chunk-kv(policy="x")', budget, "a", 0.5),
      record('chunk-kv(policy="x")', budget, "needle-512-0.5", 0),
    ]),
  ];
  const { html, csv } = await createReport(records, { title: "A <title>", numLayers: 2 });
  expect(html).toContain("A &lt;title&gt;");
  expect(html).not.toMatch(/<script|(src|href)="|url\(http/);
  expect(html.match(/<svg /g)!.length).toBe(2 + 2 * 2);
  expect(html).toContain("Needles found");
  const lines = csv.trim().split("\n");
  expect(lines[0]).toBe("policy,budget,question,samples,kept,score,nll,vt,needle");
  expect(lines).toHaveLength(4);
  expect(lines[2]).toBe('"chunk-kv(policy=""x"")",0.5,hidden,2,0.5,25,0.75,50,0');
});

it("refuses an empty evaluation", async () => {
  await expect(createReport([])).rejects.toThrow(/no records/);
});
