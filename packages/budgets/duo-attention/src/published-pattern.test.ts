import { expect, it } from "vitest";
import { convertDuoAttentionPattern } from "./index.ts";

const given = { model: { name: "m", fingerprint: null }, numQueryHeads: 4 };

it("reads the authors' table of gates", () => {
  const text = "1.02\t0.25\n-0.01\t5e-1\n";
  const { kind, shape, arrays } = convertDuoAttentionPattern(text, given);
  expect({ kind, shape, arrays }).toEqual({
    kind: "duo-attention",
    shape: { numLayers: 2, numQueryHeads: 4, numKvHeads: 2 },
    arrays: { headScores: { shape: [2, 2], values: [1, 0.25, 0, 0.5] } },
  });
});

it("refuses what is no table", () => {
  expect(() => convertDuoAttentionPattern("1\t2\n3\n", given)).toThrow(
    "Line 2 is no row of 2 gates",
  );
  expect(() => convertDuoAttentionPattern("a\tb", given)).toThrow("Line 1");
  expect(() => convertDuoAttentionPattern("", given)).toThrow("full_attention_heads.tsv");
});
