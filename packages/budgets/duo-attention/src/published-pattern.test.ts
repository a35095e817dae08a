import { readFileSync } from "node:fs";
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

it("reads the authors' files as they lie beside each other", () => {
  const read = (name: string) =>
    readFileSync(new URL(`__fixtures__/${name}`, import.meta.url), "utf8");
  const config = read("config.json");
  const { shape, settings, arrays } = convertDuoAttentionPattern(read("full_attention_heads.tsv"), {
    ...given,
    numQueryHeads: 8,
    config,
  });
  expect(shape).toEqual({ numLayers: 3, numQueryHeads: 8, numKvHeads: 4 });
  expect(settings).toEqual({ onTheFly: false, sinks: 64, recent: 256 });
  expect(arrays.headScores!.values.slice(0, 4)).toEqual([0.0312, 1, 0, 0.998046875]);
  expect(() => convertDuoAttentionPattern("1", { ...given, config: "{}" })).toThrow("no sink_size");
  expect(() => convertDuoAttentionPattern("1", { ...given, config: "-" })).toThrow("not JSON");
});

it("refuses what is no table", () => {
  expect(() => convertDuoAttentionPattern("1\t2\n3\n", given)).toThrow(
    "Line 2 is no row of 2 gates",
  );
  expect(() => convertDuoAttentionPattern("a\tb", given)).toThrow("Line 1");
  expect(() => convertDuoAttentionPattern("", given)).toThrow("full_attention_heads.tsv");
});
