import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { classifyTask, windowKV } from "./index.ts";

testPolicy("window-kv", () => windowKV({ suffix: 6 }));
testPolicy("window-kv, aggregation", () =>
  windowKV({ task: "aggregation", suffix: 5, windowSize: 3, groupSize: 1, beta: 4 }),
);

it("keeps the same whole windows in all layers and heads of a group", async () => {
  const shape = { numLayers: 4, numQueryHeads: 4, numKvHeads: 2, headDim: 8 };
  const start = (sequences: number) => {
    const made = tokenCache({ shape, seed: 3, sequences, maxTokens: 105, windowSize: 5 });
    for (const sequence of made.sequences) made.feed(sequence, 105, { flags: 1 });
    return made;
  };
  const policy = windowKV({ suffix: 5, groupSize: 2, beta: 5 });
  const { kept } = await compressOnce(start(2), policy, { tokens: 40 });
  const alone = await compressOnce(start(1), policy, { tokens: 40 });
  expect(kept.slice(0, 8)).toEqual(alone.kept);
  for (const rows of [kept.slice(0, 4), kept.slice(4, 8), kept.slice(8, 12), kept.slice(12)]) {
    expect(new Set(rows.map(String)).size).toBe(1);
    const review = rows[0]!.filter((position) => position < 100);
    for (let first = 0; first < 96; first += 8) {
      const inside = review.filter((position) => position >= first && position < first + 8);
      expect([0, 8]).toContain(inside.length);
    }
    expect(rows[0]!.slice(-5)).toEqual([100, 101, 102, 103, 104]);
  }
  // 40 × 2 / 5 = 16 in the last group, 64 in the first: of 100, ⌈36 / 8⌉ and ⌈84 / 8⌉ windows go.
  expect([60, 64]).toContain(kept[0]!.length - 5);
  expect([12, 16]).toContain(kept[4]!.length - 5);
});

it("guesses the task from a prompt's wording", () => {
  const text = "The ship left in May. ".repeat(40);
  expect(classifyTask(`${text}\nWhen did the ship leave?`)).toBe("localization");
  expect(classifyTask(`${text}\nWhat is the special number for Berlin?`)).toBe("localization");
  expect(classifyTask(`Write a one-page summary of this text.\n${text}\nSummary:`)).toBe(
    "aggregation",
  );
  expect(classifyTask(`${text}\nSummarize the text in three sentences.`)).toBe("aggregation");
  expect(classifyTask(`Review: good\nType: a\nReview: bad\nType: b\nReview: so\nType:`)).toBe(
    "aggregation",
  );
});

it("refuses groups that do not divide the model, and options out of range", () => {
  const shape = { numLayers: 6, numQueryHeads: 2, numKvHeads: 1, headDim: 4 };
  expect(() => windowKV({ groupSize: 4 }).budget.checkShape!(shape)).toThrow("do not divide");
  expect(() => windowKV({ task: "qa" as "aggregation" })).toThrow("task cannot be");
  expect(() => windowKV({ windowSize: 0 })).toThrow("windowSize");
});
