import type { KvBatch, ModelView, RopeParameters } from "@kvcache/core";
import { ropeTable } from "@kvcache/core";
import { describe, expect, it } from "vitest";
import { rope } from "../ops/rope/rope.ts";
import { forEachRow } from "./batch-rows.ts";
import { randomFloats, randomNumbers, testBatch, testCache } from "./test-cache.ts";
import { unrotation } from "./unrotation.ts";

const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 2, headDim: 10 };
const tokens = 23;
const scalings: readonly RopeParameters["scaling"][] = [
  { type: "default" },
  { type: "dynamic", factor: 4 },
  {
    type: "yarn",
    factor: 4,
    originalMaxPositions: 16,
    betaFast: 32,
    betaSlow: 1,
    truncate: true,
    attentionFactor: 1.4,
  },
];

describe("unrotation", () => {
  it.each(scalings)("gives back what RoPE turned, part of a head only: $type", (scaling) => {
    const parameters: RopeParameters = { theta: 10_000, dim: 6, maxPositions: 16, scaling };
    const before = [1, 2].map((seed) => randomFloats(randomNumbers(seed), tokens * shape.headDim));
    const positions = Int32Array.from({ length: tokens }, (_, i) => i);
    const cos = new Float32Array(tokens * 3);
    const sin = new Float32Array(tokens * 3);
    ropeTable(parameters, positions, new Int32Array(tokens).fill(tokens), cos, sin);
    const { cache, append, writeKeys, keep } = testCache(shape);
    append(0, tokens);
    before.forEach((input, head) => {
      const out = new Float32Array(input.length);
      rope.reference({ input, out, cos, sin, numTokens: tokens, numHeads: 1 });
      writeKeys(0, 0, head, out);
    });
    const kept = [20, 3, 4, 22, 0];
    keep(0, 0, 1, kept);
    const model: ModelView = {
      hiddenSize: 1,
      rope: () => parameters,
      outputWeight: () => new Float32Array(0),
    };
    const batch: KvBatch = { ...testBatch(cache, [0]), model };
    const beforeRope = unrotation(batch);
    forEachRow(batch, (row) => {
      const slots = row.head === 1 ? kept : [...positions];
      beforeRope(row).forEach((value, at) => {
        const [slot, c] = [Math.floor(at / shape.headDim), at % shape.headDim];
        expect(value).toBeCloseTo(before[row.head]![slots[slot]! * shape.headDim + c]!, 5);
      });
    });
  });

  it("needs a model", () => {
    const { cache } = testCache(shape);
    expect(() => unrotation(testBatch(cache, [0]))).toThrow("needs the model's RoPE");
  });
});
