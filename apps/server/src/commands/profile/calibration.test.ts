import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, expect, it } from "vitest";
import { openModel } from "../../assemble.ts";
import { parsePlan } from "../../plan-spec.ts";
import { registerProfile } from "../profile.ts";

const { fingerprint, graph } = await openModel("tiny");
const folder = mkdtempSync(join(tmpdir(), "kvcache-profile-"));
afterAll(() => rmSync(folder, { recursive: true }));

const text = Array.from({ length: 60 }, (_, i) => `Paragraph ${i}: the bell rang ${i * 37} times.`);
writeFileSync(join(folder, "text.txt"), text.join("\n\n"));

async function profile(method: string, out: string, ...more: string[]): Promise<string> {
  const program = new Command();
  registerProfile(program);
  const path = join(folder, out);
  const data = ["--data", join(folder, "text.txt"), "--lengths", "96", "--samples", "3"];
  const args = ["profile", method, ...data, "--out", path, "--json", ...more];
  await program.parseAsync(args, { from: "user" });
  return path;
}

it("makes the same file for the same seed, bound to the model", async () => {
  const [first, again, other] = [
    await profile("q-filters", "a.safetensors"),
    await profile("q-filters", "b.safetensors"),
    await profile("q-filters", "c.safetensors", "--seed", "1"),
  ];
  expect(readFileSync(again)).toEqual(readFileSync(first));
  expect(readFileSync(other)).not.toEqual(readFileSync(first));
  expect(existsSync(`${first}.partial`)).toBe(false);
  const { scorer } = parsePlan(`q-filters(filters="${first}")@0.5`).eviction!.policy;
  expect(() => scorer.checkShape!(graph.shape, fingerprint)).not.toThrow();
  expect(() => scorer.checkShape!(graph.shape, "0".repeat(32))).toThrow("another model");
});

/** Questions that the shipped model answers, as JSONL. */
const needles = [4817, 9320, 5162].map((number, i) => {
  const needle = ` One of the special magic numbers for golden-harbor is: ${number}.`;
  const sentences = text.map((paragraph, at) => paragraph + (at === 3 * i + 2 ? needle : ""));
  return {
    ...{ id: `needle-${i}`, task: "niah_single", length: 150 },
    context: `${sentences.slice(0, 10).join(" ")}\n\n`,
    turns: [
      {
        question:
          "What is the special magic number for golden-harbor mentioned in the provided text?",
        answers: [String(number)],
      },
    ],
  };
});
writeFileSync(join(folder, "needles.jsonl"), needles.map((one) => JSON.stringify(one)).join("\n"));

it.each([
  ["baklava", "profile", ["--search", "1", "--ratios", ".5"]],
  ["duo-attention", "profile", ["--positions", "20"]],
  ["expected-attention", "statistics", ["--half"]],
  ["head-kv", "profile", []],
  ["heat-kv", "profile", ["--edges", "16,64", "--queries", "4"]],
  ["kv-zap", "surrogate", ["--kind", "linear", "--per-sample", "60"]],
  ["kv-zap", "surrogate", ["--width", "4", "--epochs", "1", "--per-sample", "20", "--half"]],
])("makes what %s takes as %s, with %j", async (method, option, more) => {
  const data = ["--data", join(folder, "needles.jsonl")];
  const path = await profile(method, `${method}.file`, "--fresh", ...data, ...more);
  const plan = parsePlan(`${method}(${option}="${path}")@0.5`);
  const { scorer, budget } = plan.eviction!.policy;
  for (const part of [scorer, budget])
    expect(() => part.checkShape?.(graph.shape, fingerprint)).not.toThrow();
  expect(() =>
    [scorer, budget].forEach((part) => {
      part.checkShape?.(graph.shape, "0".repeat(32));
    }),
  ).toThrow("another model");
  if (method !== "head-kv") return;
  const { values } = JSON.parse(readFileSync(path, "utf8")).arrays.headScores;
  // Some head reads the needle, most do not.
  expect(Math.max(...values)).toBeGreaterThan(0.05);
  expect(values.filter((score: number) => score < 0.02).length).toBeGreaterThan(24);
});

it("refuses the beginning of other work, unless told to begin anew", async () => {
  writeFileSync(
    join(folder, "d.safetensors.partial"),
    '{"format":"kvcache-partial-state","version":1,"key":"x","done":0,"arrays":[]}\n',
  );
  const path = await profile("q-filters", "d.safetensors", "--fresh");
  expect(readFileSync(path)).toEqual(readFileSync(join(folder, "a.safetensors")));
});
