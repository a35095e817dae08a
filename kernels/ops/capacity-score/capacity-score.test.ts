import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { choleskyInPlace, solveLower, solveUpper } from "../../src/cholesky.ts";
import { entryStore } from "../../src/entry-store.ts";
import { gatherValues, rowView, slotOf } from "../../src/row-view.ts";
import { randomFloats, randomNumbers, testBatch, testCache } from "../../src/test-cache.ts";
import { capacityScore } from "./capacity-score.ts";

const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 1, headDim: 5 };
const tokens = 12;

it("shares out the capacity: equal weights sum to trace(A⁻¹(A − I))", () => {
  const { cache, append, writeKeys } = testCache(shape);
  append(0, tokens);
  const random = randomNumbers(2);
  writeKeys(0, 0, 0, randomFloats(random, tokens * 5));
  const values = randomFloats(random, tokens * 5);
  const view = rowView(cache, 0, 0, 0);
  for (let j = 0; j < tokens; j++) {
    const slot = slotOf(view, j);
    const { blockSize } = view.arena.layout;
    entryStore(view.arena, "value").write(
      Math.floor(slot / blockSize),
      slot % blockSize,
      values,
      j * 5,
    );
  }
  expect(gatherValues(view)).toEqual(values);

  const sinks = 2;
  const batch = {
    ...testBatch(cache, [0]),
    model: { hiddenSize: 1, rope: () => undefined, outputWeight: () => new Float32Array(0) },
  };
  const out = hostTensor(new Float32Array(batch.totalSlots));
  const means = [randomFloats(random, 10)];
  capacityScore.reference({ batch, out, means, tau: 0, futurePositions: 4, sinks, epsilon: 0 });

  const matrix = new Float64Array(25);
  for (let j = sinks; j < tokens; j++)
    for (let a = 0; a < 5; a++)
      for (let b = 0; b < 5; b++) matrix[a * 5 + b]! += values[j * 5 + a]! * values[j * 5 + b]!;
  for (let c = 0; c < 5; c++) matrix[c * 6]! += 1;
  choleskyInPlace(matrix, 5);
  let trace = 5;
  for (let c = 0; c < 5; c++) {
    const column = new Float64Array(5);
    column[c] = 1;
    solveLower(matrix, 5, column);
    solveUpper(matrix, 5, column);
    trace -= column[c]!;
  }
  expect([...out.data.subarray(0, sinks)]).toEqual([Infinity, Infinity]);
  const total = Array.from(out.data.subarray(sinks)).reduce((sum, score) => sum + score, 0);
  expect(total).toBeCloseTo(trace, 4);
});
