import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { testBatch, testCache } from "../../src/test-cache.ts";
import { raiseRecent } from "./raise-recent.ts";

it("raises the last tokens of each row, as many as its share of the count", () => {
  const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 2, headDim: 2 };
  const { cache, append, keep } = testCache(shape, { blockSize: 4 });
  append(0, 7);
  keep(0, 0, 1, [6, 0, 5, 2]);
  const batch = testBatch(cache, [0]);
  const scores = hostTensor(Float32Array.from({ length: 11 }, (_, j) => j));
  const out = hostTensor(new Float32Array(11));
  const raised = (share: number, counts: number[]) => {
    raiseRecent.reference({
      batch,
      scores,
      share,
      out,
      counts: hostTensor(Uint32Array.from(counts)),
    });
    return [...out.data].flatMap((value, j) => (value === Number.POSITIVE_INFINITY ? [j] : []));
  };
  expect(raised(0.5, [5, 3])).toEqual([5, 6, 7]);
  expect(raised(0, [7, 4])).toEqual([]);
  expect(raised(1, [2, 3])).toEqual([5, 6, 7, 9, 10]);
  expect([...scores.data]).toEqual(Array.from({ length: 11 }, (_, j) => j));
  expect(out.data[0]).toBe(0);
});
