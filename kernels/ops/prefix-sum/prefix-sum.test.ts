import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { prefixSum } from "./prefix-sum.ts";

it("starts at 0 and ends with the total", () => {
  const out = hostTensor(new Uint32Array(5).fill(7));
  prefixSum.reference({ counts: hostTensor(Uint32Array.of(3, 0, 4, 1)), out });
  expect([...out.data]).toEqual([0, 3, 3, 7, 8]);
});

it("refuses a table of another length", () => {
  const counts = hostTensor(new Uint32Array(2));
  expect(() => prefixSum.reference({ counts, out: hostTensor(new Uint32Array(2)) })).toThrowError(
    /has 3 entries/,
  );
});
