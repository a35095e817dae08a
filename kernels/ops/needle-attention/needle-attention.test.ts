import { expect, it } from "vitest";
import { testBatch, testCache } from "../../src/test-cache.ts";
import { needleAttention } from "./needle-attention.ts";

it("counts attention on the needle among as many tokens as it has", () => {
  const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 1, headDim: 6 };
  const { cache, append, writeKeys } = testCache(shape, { blockSize: 4 });
  append(0, 6);
  const unit = new Float32Array(36);
  for (let j = 0; j < 6; j++) unit[j * 6 + j] = Math.sqrt(6);
  writeKeys(0, 0, 0, unit);
  // Logits are the queries: the first head looks at 2 and 0, the second at 3 and 2.
  const queries = Float32Array.from([2, 0, 3, 1, 0, 0, 0, 0, 1, 2, 0, 0]);
  const scores = new Float64Array(2);
  needleAttention.reference({
    batch: testBatch(cache, [0]),
    queries: () => queries,
    start: 5,
    count: 1,
    needle: { from: 2, to: 4 },
    scores,
  });
  const first = [2, 0, 3, 1, 0, 0].map(Math.exp);
  const second = [0, 0, 1, 2, 0, 0].map(Math.exp);
  const total = (weights: number[]) => weights.reduce((sum, weight) => sum + weight, 0);
  expect(scores[0]).toBeCloseTo(first[2]! / total(first) / 2, 6);
  expect(scores[1]).toBeCloseTo((second[2]! + second[3]!) / total(second) / 2, 6);
});
