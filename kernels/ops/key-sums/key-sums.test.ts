import { ropeTable } from "@kvcache/core";
import { expect, it } from "vitest";
import { randomFloats, randomNumbers, testBatch, testCache } from "../../src/test-cache.ts";
import { rope } from "../rope/rope.ts";
import { keySums } from "./key-sums.ts";

it("adds up what the keys were before RoPE, from a position on", () => {
  const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 4 };
  const parameters = {
    theta: 100,
    dim: 4,
    maxPositions: 32,
    scaling: { type: "default" },
  } as const;
  const { cache, append, writeKeys, keep } = testCache(shape, { blockSize: 4 });
  append(0, 9);
  const positions = Int32Array.from({ length: 9 }, (_, i) => i);
  const [cos, sin] = [new Float32Array(18), new Float32Array(18)];
  ropeTable(parameters, positions, new Int32Array(9).fill(9), cos, sin);
  const before = [0, 1, 2, 3].map((row) => randomFloats(randomNumbers(row), 36));
  before.forEach((input, row) => {
    const out = new Float32Array(36);
    rope.reference({ input, out, cos, sin, numTokens: 9, numHeads: 1 });
    writeKeys(0, row >> 1, row & 1, out);
  });
  keep(0, 1, 1, [8, 2, 5]);
  const model = { hiddenSize: 1, rope: () => parameters, outputWeight: () => new Float32Array(0) };
  const sums = new Float64Array(16).fill(1);
  keySums.reference({ batch: { ...testBatch(cache, [0]), model }, from: 4, sums });
  before.forEach((keys, row) => {
    const counted = row === 3 ? [5, 8] : [4, 5, 6, 7, 8];
    for (let c = 0; c < 4; c++) {
      const expected = counted.reduce((sum, j) => sum + keys[j * 4 + c]!, 1);
      expect(sums[row * 4 + c]).toBeCloseTo(expected, 5);
    }
  });
});
