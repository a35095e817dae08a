import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { type PyramidKVOptions, pyramidKV } from "./index.ts";

testPolicy("pyramid-kv", () => pyramidKV({ window: 6 }));
testPolicy("pyramid-kv, kvcache-factory", () => pyramidKV({ variant: "kvcache-factory" }));
testPolicy("pyramid-kv, exact", () => pyramidKV({ window: 4, rounding: "exact", beta: 3 }));

const shape = { numLayers: 4, numQueryHeads: 2, numKvHeads: 1, headDim: 4 };

async function compressed(options: PyramidKVOptions, tokens: number) {
  const made = tokenCache({ shape, seed: 5, sequences: 1, maxTokens: 200, windowSize: 8 });
  made.feed(0, 200, { flags: 1 });
  return compressOnce(made, pyramidKV({ window: 8, ...options }), { tokens });
}

it("keeps more in lower layers, always the window", async () => {
  const { kept } = await compressed({ variant: "kvcache-factory" }, 40);
  // 32 beside the window: from 64 − 1 down to 1 in steps of ⌊62 / 3⌋ = 20.
  expect(kept.map((row) => row.length)).toEqual([71, 51, 31, 11]);
  for (const row of kept) expect(row.slice(-8)).toEqual([192, 193, 194, 195, 196, 197, 198, 199]);
});

it("keeps what scores best in its layer", async () => {
  const { kept, scores } = await compressed({ beta: 5 }, 60);
  kept.forEach((row, layer) => {
    const least = Math.min(...row.map((position) => scores[layer]![position]!));
    const better = scores[layer]!.filter(
      (score, position) => score > least && !row.includes(position),
    );
    expect(better).toHaveLength(0);
  });
});

it("is even at beta 1", async () => {
  for (const rounding of ["kvpress", "reference", "exact"] as const) {
    const { kept } = await compressed({ beta: 1, rounding }, 40);
    expect(kept.map((row) => row.length)).toEqual([40, 40, 40, 40]);
  }
});
