import { hostTensor } from "@kvcache/core";
import { describe, expect, it } from "vitest";
import { randomFloats, randomNumbers, testBatch, testCache } from "../../src/test-cache.ts";
import { chunkAttention } from "./chunk-attention.ts";

const shape = { numLayers: 1, numQueryHeads: 4, numKvHeads: 2, headDim: 3 };
const [tokens, first, numQueries, chunk] = [15, 2, 13, 5];
const random = randomNumbers(3);
const queries = randomFloats(random, numQueries * 12);
const keys = [0, 1].map(() => randomFloats(random, tokens * 3));

function run(padded: boolean, evicted: readonly number[] = []) {
  const { cache, append, writeKeys, keep } = testCache(shape);
  append(0, tokens);
  keys.forEach((own, head) => {
    writeKeys(0, 0, head, own);
  });
  const kept = Array.from({ length: tokens }, (_, j) => j).filter((j) => !evicted.includes(j));
  // Head 1 holds its tokens in another order.
  keep(0, 0, 1, kept.reverse());
  const out = hostTensor(new Float32Array(2 * numQueries).fill(7));
  chunkAttention.reference({
    ...{
      batch: testBatch(cache, [0]),
      sequenceIndex: 0,
      layer: 0,
      first,
      numQueries,
      chunk,
      padded,
      out,
    },
    queries: hostTensor(queries),
  });
  return [out.data.subarray(0, numQueries), out.data.subarray(numQueries)];
}

/** Attention received within the chunk, with explicit padding: keys of logit 0, uniform queries. */
function received(
  head: number,
  position: number,
  padded: boolean,
  evicted: readonly number[] = [],
) {
  if (evicted.includes(position)) return 0;
  const begin = first + Math.floor((position - first) / chunk) * chunk;
  const real = Array.from({ length: Math.min(chunk, tokens - begin) }, (_, i) => begin + i);
  const visible = real.filter((p) => !evicted.includes(p));
  const padding = padded ? chunk - real.length : 0;
  let total = padding / chunk;
  for (const member of [0, 1])
    for (const p of real) {
      const at = ((p - first) * 4 + head * 2 + member) * 3;
      const weight = (j: number) =>
        Math.exp([0, 1, 2].reduce((s, c) => s + queries[at + c]! * keys[head]![j * 3 + c]!, 0));
      const all = visible.reduce((sum, j) => sum + weight(j), padding);
      total += weight(position) / all / 2;
    }
  return total;
}

describe("chunkAttention", () => {
  it.each([true, false])("sums what each token receives from its chunk, padded: %s", (padded) => {
    run(padded).forEach((out, head) => {
      out.forEach((value, i) => {
        expect(value, `${head}/${i}`).toBeCloseTo(received(head, first + i, padded), 5);
      });
    });
  });

  it("leaves out keys that are gone", () => {
    const evicted = [3, 9, 12, 13, 14];
    const [, out] = run(false, evicted);
    out!.forEach((value, i) => {
      expect(value).toBeCloseTo(received(1, first + i, false, evicted), 5);
    });
  });
});
