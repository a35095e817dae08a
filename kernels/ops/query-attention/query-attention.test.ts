import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { gatherKeys, gatherPositions, rowView } from "../../src/row-view.ts";
import { randomFloats, randomNumbers, testBatch, testCache } from "../../src/test-cache.ts";
import { type QueryAttentionParams, queryAttention } from "./query-attention.ts";

const shape = { numLayers: 2, numQueryHeads: 6, numKvHeads: 3, headDim: 4 };
const random = randomNumbers(11);
const tokens = 30;
const test = testCache(shape, { blockSize: 4 });
test.append(1, tokens);
for (let layer = 0; layer < 2; layer++)
  for (let head = 0; head < 3; head++) {
    test.writeKeys(1, layer, head, randomFloats(random, tokens * shape.headDim, 1.5));
    const slots = Array.from({ length: tokens }, (_, j) => j).filter(() => random() < 0.8);
    test.keep(
      1,
      layer,
      head,
      slots.sort(() => random() - 0.5),
    );
  }
const batch = testBatch(test.cache, [0, 1]);
const count = 7;
const width = 26;
const queries = randomFloats(random, count * shape.numQueryHeads * shape.headDim, 1.5);
const factors = randomFloats(random, count).map(Math.abs);
const params = {
  batch,
  sequenceIndex: 1,
  layer: 1,
  queries: hostTensor(queries),
  start: 21,
  seen: [
    { from: 0, to: 3 },
    { from: 8, to: 17 },
    { from: 20, to: 99 },
  ],
  scored: { from: 8, to: 23 },
  width,
};

/** position → weights of every query on it, for one query head, from the definition. */
function weightsOf(queryHead: number, scale: number): Map<number, number[]> {
  const view = rowView(test.cache, 1, 1, Math.floor(queryHead / 2));
  const positions = [...gatherPositions(view)];
  const keys = gatherKeys(view);
  const out = new Map<number, number[]>();
  for (let i = 0; i < count; i++) {
    const slots = [...positions.keys()].filter((slot) => {
      const p = positions[slot]!;
      return p <= params.start + i && params.seen.some(({ from, to }) => p >= from && p < to);
    });
    const exps = slots.map((slot) => {
      let dot = 0;
      for (let c = 0; c < 4; c++)
        dot += queries[(i * 6 + queryHead) * 4 + c]! * keys[slot * 4 + c]!;
      return Math.exp(dot * scale);
    });
    const total = exps.reduce((a, b) => a + b, 0);
    slots.forEach((slot, j) => {
      const p = positions[slot]!;
      if (p < params.scored.from || p >= params.scored.to) return;
      out.set(p, [...(out.get(p) ?? []), (exps[j]! / total) * factors[i]!]);
    });
  }
  return out;
}

for (const reduce of ["max", "sum"] as const)
  it(`gathers the ${reduce} over unordered, ragged rows, on top of what was there`, () => {
    const table = hostTensor(new Float32Array(6 * width).fill(0.05));
    for (const scale of [0.5, 0.3])
      queryAttention.reference({
        ...params,
        reduce,
        table,
        factors: hostTensor(factors),
        ...(scale === 0.3 && { scale }),
      });
    for (let head = 0; head < 6; head++) {
      const weights = [weightsOf(head, 0.5), weightsOf(head, 0.3)];
      for (let position = 0; position < width; position++) {
        const all = [0.05, ...weights.flatMap((own) => own.get(position) ?? [])];
        const wanted = reduce === "max" ? Math.max(...all) : all.reduce((a, b) => a + b, 0);
        expect(Math.abs(table.data[head * width + position]! - wanted)).toBeLessThan(1e-6);
      }
    }
  });

it("hands the native op its numbers in the agreed order", () => {
  const table = hostTensor(new Float32Array(6 * width));
  const call = queryAttention.native!({ ...params, reduce: "sum", table });
  expect(call.integers).toEqual([6 * width, 1, 1, 21, width, 8, 23, 1]);
  expect(call.floats).toEqual([0.5]);
  expect(call.inputs.map(({ dtype, length }) => `${dtype} ${length}`)).toEqual([
    `f32 ${count * 24}`,
    `f32 ${count}`,
    "i32 6",
    `f32 ${6 * width}`,
  ]);
  expect(call.outputs).toEqual([table]);
});

it("refuses tensors that do not fit", () => {
  const table = hostTensor(new Float32Array(6 * width));
  const run = (wrong: Partial<QueryAttentionParams>) => () =>
    queryAttention.reference({ ...params, reduce: "max", table, ...wrong });
  expect(run({ width: width + 1 })).toThrow("do not fit");
  expect(run({ scored: { from: 0, to: width + 1 } })).toThrow("do not fit");
  expect(run({ queries: hostTensor(queries.subarray(1)) })).toThrow("do not fit");
  expect(run({ factors: hostTensor(factors.subarray(1)) })).toThrow("do not fit");
});
