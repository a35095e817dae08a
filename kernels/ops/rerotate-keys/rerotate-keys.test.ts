import { hostTensor, indptrOf, type RopeParameters, ropeTable } from "@kvcache/core";
import { expect, it } from "vitest";
import { gatherKeys, gatherPositions, rowView } from "../../src/row-view.ts";
import { randomFloats, randomNumbers, testBatch, testCache } from "../../src/test-cache.ts";
import { rope } from "../rope/rope.ts";
import { rerotateKeys } from "./rerotate-keys.ts";

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 10 };
const plain: RopeParameters = {
  theta: 100,
  dim: 8,
  maxPositions: 99,
  scaling: { type: "default" },
};
const yarn: RopeParameters = {
  ...plain,
  scaling: {
    type: "yarn",
    factor: 4,
    originalMaxPositions: 32,
    betaFast: 32,
    betaSlow: 1,
    truncate: true,
    attentionFactor: 1.3,
  },
};

/** Keys of one head at positions, from what they are before RoPE. */
function rotated(parameters: RopeParameters, before: Float32Array, positions: Int32Array) {
  const out = new Float32Array(before.length);
  const [cos, sin] = [0, 1].map(() => new Float32Array((positions.length * parameters.dim) / 2));
  ropeTable(parameters, positions, positions, cos!, sin!);
  const numTokens = positions.length;
  rope.reference({ input: before, out, cos: cos!, sin: sin!, numTokens, numHeads: 1 });
  return out;
}

const tokens = 20;
const setUp = (ropes: readonly (RopeParameters | undefined)[]) => {
  const random = randomNumbers(3);
  const test = testCache(shape, { blockSize: 4 });
  test.append(0, tokens);
  const positions = Int32Array.from({ length: tokens }, (_, position) => position);
  const before = [0, 1, 2, 3].map((row) => {
    const keys = randomFloats(random, tokens * shape.headDim);
    const own = ropes[row >> 1];
    test.writeKeys(0, row >> 1, row % 2, own ? rotated(own, keys, positions) : keys);
    return keys;
  });
  const model = {
    hiddenSize: 1,
    rope: (layer: number) => ropes[layer],
    outputWeight: () => before[0]!,
  };
  const kept = [0, 1, 2, 3].map((row) => positions.filter((p) => (p * 7 + row) % 3 > 0));
  const keep = {
    indptr: hostTensor(indptrOf(kept.map(({ length }) => length))),
    indices: hostTensor(Uint32Array.from(kept.flatMap((own) => [...own]))),
  };
  return { test, before, kept, params: { batch: { ...testBatch(test.cache, [0]), model }, keep } };
};

it("gives keys as if the kept tokens had stood at 0, 1, 2 …", () => {
  const ropes = [plain, yarn];
  const { test, before, kept, params } = setUp(ropes);
  rerotateKeys.reference(params);
  kept.forEach((slots, row) => {
    const view = rowView(test.cache, 0, row >> 1, row % 2);
    const [keys, positions] = [gatherKeys(view), gatherPositions(view)];
    slots.forEach((slot, place) => {
      const own = before[row]!.subarray(slot * 10, slot * 10 + 10);
      const wanted = rotated(ropes[row >> 1]!, own, Int32Array.of(place));
      wanted.forEach((value, c) => {
        expect(Math.abs(keys[slot * 10 + c]! - value)).toBeLessThan(1e-5);
      });
      expect(positions[slot]).toBe(place);
    });
  });
});

it("only counts anew where a layer rotates nothing", () => {
  const { test, before, kept, params } = setUp([undefined, undefined]);
  rerotateKeys.reference(params);
  const view = rowView(test.cache, 0, 1, 1);
  expect(gatherKeys(view)).toEqual(before[3]);
  expect(kept[3]!.map((slot) => gatherPositions(view)[slot]!)).toEqual(kept[3]!.map((_, i) => i));
});

it("refuses rotations that depend on the length, and a batch without a model", () => {
  const { params } = setUp([{ ...plain, scaling: { type: "dynamic", factor: 2 } }, plain]);
  expect(() => rerotateKeys.reference(params)).toThrow("dynamic RoPE");
  const { model: _, ...batch } = params.batch;
  expect(() => rerotateKeys.reference({ ...params, batch })).toThrow("model's RoPE");
});
