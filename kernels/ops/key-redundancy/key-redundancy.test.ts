import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { gatherKeys, gatherPositions, rowView } from "../../src/row-view.ts";
import { randomFloats, randomNumbers, testBatch, testCache } from "../../src/test-cache.ts";
import { keyRedundancy } from "./key-redundancy.ts";

const shape = { numLayers: 1, numQueryHeads: 1, numKvHeads: 1, headDim: 6 };

/** Written from the definition, pair by pair; keys by position. */
function expected(keys: number[][], threshold: number): number[] {
  const n = keys.length;
  const unit = keys.map((key) => key.map((x) => x / Math.hypot(...key)));
  const cosines = unit.map((a, i) =>
    unit.map((b, j) => (i === j ? 0 : a.reduce((sum, x, c) => sum + x * b[c]!, 0))),
  );
  for (const row of cosines)
    row[
      Math.max(
        0,
        row.findLastIndex((x) => x > threshold),
      )
    ] = 0;
  const exps = keys.map((_, j) => Math.exp(cosines.reduce((sum, row) => sum + row[j]!, 0) / n));
  const total = exps.reduce((sum, x) => sum + x, 0);
  return exps.map((x) => x / total);
}

it("agrees with the definition on unordered rows", () => {
  for (const threshold of [0.5, 0.1, 0.95]) {
    const random = randomNumbers(7);
    const test = testCache(shape, { blockSize: 4 });
    test.append(0, 25);
    test.writeKeys(0, 0, 0, randomFloats(random, 25 * 6));
    const slots = Array.from({ length: 25 }, (_, j) => j).filter(() => random() < 0.8);
    test.keep(
      0,
      0,
      0,
      slots.sort(() => random() - 0.5),
    );
    const out = hostTensor(new Float32Array(slots.length));
    keyRedundancy.reference({ batch: testBatch(test.cache, [0]), out, threshold });
    const view = rowView(test.cache, 0, 0, 0);
    const [keys, positions] = [gatherKeys(view), gatherPositions(view)];
    const order = [...positions.keys()].sort((a, b) => positions[a]! - positions[b]!);
    const wanted = expected(
      order.map((slot) => [...keys.subarray(slot * 6, slot * 6 + 6)]),
      threshold,
    );
    order.forEach((slot, j) => {
      expect(Math.abs(out.data[slot]! - wanted[j]!)).toBeLessThan(1e-7);
    });
  }
});

it("ranks duplicates a < b < c by age, and pardons both of two", () => {
  const axes = (...list: number[]) =>
    Float32Array.from(list.flatMap((axis) => [0, 1, 2, 3, 4, 5].map((c) => Number(c === axis))));
  const run = (keys: Float32Array) => {
    const test = testCache(shape, { blockSize: 4 });
    test.append(0, keys.length / 6);
    test.writeKeys(0, 0, 0, keys);
    const out = hostTensor(new Float32Array(keys.length / 6));
    keyRedundancy.reference({ batch: testBatch(test.cache, [0]), out, threshold: 0.5 });
    return out.data;
  };
  const three = run(axes(1, 0, 2, 0, 3, 0, 4));
  expect(three[1]).toBeGreaterThan(three[3]!);
  expect(three[3]).toBeGreaterThan(three[5]!);
  expect(three[5]).toBeCloseTo(three[0]!, 7);
  const two = run(axes(1, 0, 2, 0, 3));
  for (const value of two) expect(value).toBeCloseTo(0.2, 7);
});
