import type { KvShape } from "@kvcache/core";
import { retentionGatesOf } from "@kvcache/scorers";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { type FastKVzipOptions, fastKVzip } from "./index.ts";

function gatesFor({ numLayers, numQueryHeads, numKvHeads, headDim }: KvShape) {
  const hiddenSize = numQueryHeads * headDim + 3;
  const tensor = (...shape: number[]) => {
    const length = shape.reduce((product, size) => product * size, 1);
    const data = Float32Array.from({ length }, (_, i) => Math.sin(length + i * i));
    return { shape, data };
  };
  return retentionGatesOf(
    new Map([
      ["gateQueryWeight", tensor(numLayers, numQueryHeads * 4, hiddenSize)],
      ["gateQueryBias", tensor(numLayers, numQueryHeads * 4)],
      ["gateKeyWeight", tensor(numLayers, numKvHeads * 4, hiddenSize)],
      ["gateQueryNorm", tensor(numLayers, 4)],
      ["gateKeyNorm", tensor(numLayers, 4)],
      ["gateBase", tensor(numLayers, numKvHeads, 3, 4)],
      ["gateBias", tensor(numLayers, numKvHeads, numQueryHeads / numKvHeads)],
    ]),
  );
}

testPolicy("fast-kv-zip", (shape) => fastKVzip({ gates: gatesFor(shape) }));
testPolicy("fast-kv-zip, by layer", (shape) =>
  fastKVzip({ gates: gatesFor(shape), layerwise: true, sinks: 1 }),
);

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
const n = 50;

async function run(options: FastKVzipOptions) {
  const policy = fastKVzip({ gates: gatesFor(shape), windowRatio: 0.1, ...options });
  const { scorer, protect } = policy;
  const made = tokenCache({
    ...{ shape, seed: 5, sequences: 1, maxTokens: n, windowSize: 0, scorer, protect },
  });
  made.feed(0, n, { flags: 0 });
  return compressOnce(made, policy, { ratio: 0.35 });
}

it("lets all heads of the model compete, behind sinks and window", async () => {
  const { scores, kept } = await run({});
  expect(kept.flat()).toHaveLength(4 * n - Math.trunc(4 * n * 0.65));
  for (const row of kept)
    expect(row).toEqual(expect.arrayContaining([0, 1, 2, 3, 45, 46, 47, 48, 49]));
  const isKept = (row: number, j: number) => kept[row]!.includes(j);
  const of = (wanted: boolean) =>
    scores.flatMap((own, row) => [...own].filter((_, j) => isKept(row, j) === wanted));
  expect(Math.min(...of(true))).toBeGreaterThanOrEqual(Math.max(...of(false)));
  for (const score of of(false)) expect(score > 0 && score < 1).toBe(true);
});

it("gives every layer the same when asked", async () => {
  const { kept } = await run({ layerwise: true });
  const counts = kept.map((row) => row.length);
  expect(counts[0]! + counts[1]!).toBe(2 * n - Math.trunc(2 * n * 0.65));
  expect(counts[2]! + counts[3]!).toBe(counts[0]! + counts[1]!);
});

it("refuses a plan without gates, and says where they come from", () => {
  expect(() => fastKVzip().scorer.checkShape?.(shape)).toThrow("@kvcache/policy-fast-kv-zip");
});
