import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import { scorerFrom } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { chunkKV } from "./index.ts";

testPolicy("chunk-kv", () => chunkKV({ chunk: 5 }));
testPolicy("chunk-kv over a policy", () => chunkKV({ policy: scoring(), chunk: 4 }));

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 4 };
/** Numbers that look random: of a layer, a head and a position. */
const scoreOf = (layer: number, head: number, position: number) =>
  Math.abs(Math.sin(97 * layer + 31 * head + 7.3 * position)) / 10;

const scoring = (recent = 3) =>
  definePolicy({
    name: "given",
    paper: "none",
    scorer: scorerFrom("given", [], ({ layer, head, positions }) =>
      Array.from(positions, (position) => scoreOf(layer, head, position)),
    ),
    budget: uniform(),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent },
    queryAware: false,
    options: { recent },
  });

async function keptOf(n: number, policy: ReturnType<typeof chunkKV>, target: { ratio: number }) {
  const made = tokenCache({ shape, seed: n, sequences: 1, maxTokens: n, windowSize: 0 });
  made.feed(0, n, { flags: 0 });
  return (await compressOnce(made, policy, target)).kept;
}

it.each([
  [41, 10, 0.5],
  [40, 8, 0.3],
  [53, 7, 0.9],
])("keeps the best chunks of %i tokens by %i at %f, in all heads alike", async (n, size, ratio) => {
  const policy = chunkKV({ policy: scoring(), chunk: size, keepProtected: false });
  const kept = await keptOf(n, policy, { ratio });
  for (const layer of [0, 1]) {
    const own = [0, 1].map((head) => Array.from({ length: n }, (_, j) => scoreOf(layer, head, j)));
    const protectedScore = Math.max(...own.flatMap((scores) => scores.slice(0, n - 3))) + 1;
    const starts = Array.from({ length: Math.ceil(n / size) }, (_, i) => i * size);
    const means = starts.map((start) => {
      const end = Math.min(n, start + size);
      let sum = 0;
      for (const scores of own)
        for (let j = start; j < end; j++) sum += j >= n - 3 ? protectedScore : scores[j]!;
      return sum / (end - start);
    });
    const chosen = [...starts.keys()]
      .sort((a, b) => means[b]! - means[a]!)
      .slice(0, Math.max(1, Math.trunc(starts.length * ratio)));
    const expected = Array.from({ length: n }, (_, j) => j).filter((j) =>
      chosen.includes(Math.floor(j / size)),
    );
    expect(kept[2 * layer]).toEqual(expected);
    expect(kept[2 * layer + 1]).toEqual(expected);
  }
});

it("evicts a prompt shorter than a chunk token by token", async () => {
  const kept = await keptOf(12, chunkKV({ policy: scoring(0) }), { ratio: 0.5 });
  kept.forEach((row, index) => {
    const scores = Array.from({ length: 12 }, (_, j) => scoreOf(index >> 1, index & 1, j));
    const sixth = [...scores].sort((a, b) => b - a)[5]!;
    expect(row).toEqual([...scores.keys()].filter((j) => scores[j]! >= sixth));
  });
});

it("keeps protected tokens alone where no chunk more fits, unless it is told not to", async () => {
  const tokens = (keepProtected: boolean) =>
    keptOf(100, chunkKV({ policy: scoring(50), chunk: 20, keepProtected }), { ratio: 0.2 });
  for (const row of await tokens(true))
    expect(row).toEqual(Array.from({ length: 50 }, (_, i) => 50 + i));
  for (const row of await tokens(false)) expect(row).toHaveLength(20);
});
