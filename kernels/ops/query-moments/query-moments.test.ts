import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { randomFloats, randomNumbers } from "../../src/test-cache.ts";
import { queryMoments } from "./query-moments.ts";

const [heads, width, count] = [3, 5, 41];
const rows = randomFloats(randomNumbers(9), count * heads * width).map((x, i) => x + (i % 4));

it("joins parts to the moments of the whole", () => {
  const means = new Float32Array(heads * width);
  const deviations = new Float32Array(heads * width * width);
  let before = 0;
  for (const numRows of [1, 17, 0, 22, 1]) {
    queryMoments.reference({
      rows: hostTensor(rows.subarray(before * heads * width, (before + numRows) * heads * width)),
      ...{ numRows, heads, before },
      means: hostTensor(means),
      deviations: hostTensor(deviations),
    });
    before += numRows;
  }
  const at = (i: number, head: number, c: number) => rows[(i * heads + head) * width + c]!;
  const sum = (value: (i: number) => number) => {
    let total = 0;
    for (let i = 0; i < count; i++) total += value(i);
    return total;
  };
  for (let head = 0; head < heads; head++)
    for (let a = 0; a < width; a++) {
      const mean = (c: number) => sum((i) => at(i, head, c)) / count;
      expect(means[head * width + a]).toBeCloseTo(mean(a), 5);
      for (let b = 0; b < width; b++) {
        const product = sum((i) => (at(i, head, a) - mean(a)) * (at(i, head, b) - mean(b)));
        expect(deviations[(head * width + a) * width + b]).toBeCloseTo(product, 3);
      }
    }
});
