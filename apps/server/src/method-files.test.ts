import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { headProfile } from "@kvcache/core";
import { writeQFilters } from "@kvcache/policies";
import { afterAll, expect, it } from "vitest";
import { filesOf } from "./method-files.ts";
import { parsePlan, withOptions } from "./plan-spec.ts";

const folder = mkdtempSync(join(tmpdir(), "kvcache-files-"));
afterAll(() => rmSync(folder, { recursive: true }));
const path = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
const [own, other] = ["a".repeat(32), "b".repeat(32)];
const heads = headProfile({
  kind: "head-kv",
  model: { name: "small", fingerprint: own },
  shape: { numLayers: 2, numQueryHeads: 4, numKvHeads: 2 },
  settings: {},
  arrays: { headScores: { shape: [2, 4], values: [1, 2, 3, 4, 5, 6, 7, 8] } },
});
const headsFile = path("heads.json", JSON.stringify(heads));
const filtersFile = path(
  "filters.safetensors",
  writeQFilters({
    ...{ shape: [2, 2, 4], filters: new Float32Array(16).fill(0.5), model: own, fingerprint: "" },
  }),
);
const policyOf = (text: string) => parsePlan(text, "0.5").eviction!.policy;

it("reads the files that plans name, also inside other policies and between quotes", () => {
  const headKV = policyOf(`head-kv:window=16,profile=${headsFile}@0.3`);
  expect(headKV.options).toMatchObject({
    window: 16,
    profile: { kind: "head-kv", model: "small" },
  });
  expect(() => headKV.budget.checkShape!(shape, own)).not.toThrow();
  const nested = policyOf(`dms(policy=q-filters(filters="${filtersFile}"))`);
  expect(nested.options.policy).toMatchObject({ name: "q-filters", filters: { model: own } });
  // A group beside it keeps its other defaults.
  const grouped = policyOf(`head-kv(profile=${headsFile},pooling.size=5)`);
  expect(grouped.options).toMatchObject({ pooling: { kind: "max", size: 5 } });
  expect(() => grouped.budget.checkShape!(shape, own)).not.toThrow();
});

it("refuses files of another model when the plan is checked", () => {
  for (const text of [`head-kv(profile=${headsFile})`, `q-filters(filters=${filtersFile})`]) {
    const { scorer, budget } = policyOf(text);
    const check = (given: typeof shape, fingerprint: string) => {
      scorer.checkShape?.(given, fingerprint);
      budget.checkShape?.(given, fingerprint);
    };
    expect(() => check(shape, own)).not.toThrow();
    expect(() => check(shape, other)).toThrow("made for another model");
    expect(() => check({ ...shape, numLayers: 3 }, own)).toThrow("made for another model");
  }
});

it("refuses what is missing, broken or of another kind, by name", () => {
  expect(() => policyOf("baklava(profile=nowhere.json)")).toThrow(
    /no file "nowhere.json".*kvcache profile/,
  );
  expect(() => policyOf(`baklava(profile=${headsFile})`)).toThrow(
    "profile of kind head-kv is not for baklava",
  );
  expect(() => policyOf(`kv-zap(surrogate=${filtersFile})`)).toThrow(
    /filters.safetensors, kv-zap's surrogate: This file is for q-filters/,
  );
  expect(() => policyOf(`head-kv(profile=${path("x.json", "{")})`)).toThrow(
    /x.json, head-kv's profile:.*not JSON/,
  );
  expect(() => policyOf("lu-kv(curve=tiny)")).toThrow("No file for lu-kv ships as tiny");
});

it("has shipped files for tiny", () => {
  for (const text of [
    "baklava(profile=tiny)",
    "duo-attention(profile=tiny)",
    "expected-attention(statistics=tiny)",
    "head-kv(profile=tiny)",
    "heat-kv(profile=tiny)",
    "kv-zap(surrogate=tiny)",
    "kv-zap(surrogate=tiny-linear)",
    "q-filters(filters=tiny)",
  ]) {
    const { scorer, budget } = policyOf(text);
    const tiny = { numLayers: 8, numQueryHeads: 6, numKvHeads: 3, headDim: 64 };
    const check = (fingerprint: string) => {
      scorer.checkShape?.(tiny, fingerprint);
      budget.checkShape?.(tiny, fingerprint);
    };
    expect(() => check("8680b0a3c81d0b73d8db285c2225e291"), text).not.toThrow();
    expect(() => check(other), text).toThrow("another model");
  }
});

it("gives requests the files of one folder only", () => {
  const inFolder = filesOf(folder);
  const text = "head-kv(profile=heads.json)";
  expect(parsePlan(text, "0.5", inFolder).eviction!.policy.options.profile).not.toBeNull();
  for (const name of ["../heads.json", headsFile, ".heads.json"])
    expect(() => parsePlan(`head-kv(profile=${name})`, "0.5", inFolder), name).toThrow(
      "offers no file",
    );
  expect(() => parsePlan(text, "0.5", filesOf(undefined))).toThrow("offers no file");
});

it("keeps what was read when other options are given", () => {
  const changed = withOptions(policyOf(`head-kv(profile=${headsFile})`), { window: 16 });
  expect(changed.options.window).toBe(16);
  expect(() => changed.budget.checkShape!(shape, own)).not.toThrow();
});
