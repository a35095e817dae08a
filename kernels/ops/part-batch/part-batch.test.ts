import { hostArray, type Scorer } from "@kvcache/core";
import { expect, it } from "vitest";
import { forEachRow } from "../../src/batch-rows.ts";
import { gatherKeys, gatherPositions, gatherValues, slotOf } from "../../src/row-view.ts";
import { randomFloats, randomNumbers, testBatch, testCache } from "../../src/test-cache.ts";
import { keyNorm } from "../key-norm/key-norm.ts";
import { partBatch } from "./part-batch.ts";
import { scorePart } from "./score-part.ts";

const shape = { numLayers: 3, numQueryHeads: 4, numKvHeads: 2, headDim: 5 };

function ragged() {
  const random = randomNumbers(7);
  const made = testCache(shape, { dtype: "f16", blockSize: 4, maxSequences: 4, windowSize: 3 });
  for (const sequence of [1, 3]) {
    made.append(sequence, 10 + sequence);
    for (let layer = 0; layer < 3; layer++)
      for (let head = 0; head < 2; head++)
        made.writeKeys(sequence, layer, head, randomFloats(random, (10 + sequence) * 5));
  }
  const { cache } = made;
  cache.windowQueries.forEach((_, i) => {
    cache.windowQueries[i] = i;
  });
  cache.arenas[0]!.sumAttention.forEach((_, i) => {
    cache.arenas[0]!.sumAttention[i] = i;
  });
  made.keep(3, 2, 1, [12, 3, 5, 0, 8]);
  return testBatch(cache, [3, 1], { layers: [0, 2] });
}

/** Every other slot, from the last to the first. */
const chosen = (length: number, row: number) =>
  Array.from({ length }, (_, slot) => length - 1 - slot).filter((slot) => (slot + row) % 2 === 0);

it("is a cache that holds some slots of every row and nothing else", () => {
  const batch = ragged();
  const whole: { keys: number[][]; values: number[][]; positions: number[]; sums: number[] }[] = [];
  const slots: number[][] = [];
  forEachRow(batch, ({ view, row }) => {
    const own = chosen(view.length, row);
    const [keys, values] = [gatherKeys(view), gatherValues(view)];
    const positions = gatherPositions(view);
    slots.push(own);
    whole.push({
      keys: own.map((slot) => [...keys.subarray(slot * 5, slot * 5 + 5)]),
      values: own.map((slot) => [...values.subarray(slot * 5, slot * 5 + 5)]),
      positions: own.map((slot) => positions[slot]!),
      sums: own.map((slot) => view.arena.sumAttention[slotOf(view, slot)]!),
    });
  });
  const part = partBatch(batch, slots);
  expect(part.sequences).toEqual([0, 1]);
  expect(part.layers).toEqual([0, 2]);
  forEachRow(part, ({ view, row }) => {
    expect([...gatherKeys(view)]).toEqual(whole[row]!.keys.flat());
    expect([...gatherValues(view)]).toEqual(whole[row]!.values.flat());
    expect([...gatherPositions(view)]).toEqual(whole[row]!.positions);
    expect(slots[row]!.map((_, j) => view.arena.sumAttention[slotOf(view, j)])).toEqual(
      whole[row]!.sums,
    );
  });
  const width = 3 * 3 * 4 * 5;
  const queries = (host: typeof batch.host, slot: number) =>
    host!.windowQueries.subarray(slot * width, (slot + 1) * width);
  expect(queries(part.host, 0)).toEqual(queries(batch.host, 3));
  expect(queries(part.host, 1)).toEqual(queries(batch.host, 1));
  expect([...part.host!.nextPositions]).toEqual([13, 11]);
});

it("scores a part, of which rows may be empty", () => {
  const batch = ragged();
  const scorer: Scorer = {
    name: "norm",
    needs: [],
    score: (encoder, given, out) => encoder.run(keyNorm, { batch: given, out }),
  };
  const all = { data: new Float32Array(batch.totalSlots), dtype: "f32" as const };
  keyNorm.reference({ batch, out: { ...all, length: batch.totalSlots } as never });
  const indptr = hostArray(batch.rowIndptr, "u32");
  const slots = Array.from({ length: batch.numRows }, (_, row) =>
    row === 2 ? [] : chosen(indptr[row + 1]! - indptr[row]!, row),
  );
  const part = scorePart(scorer, batch, slots);
  slots.forEach((own, row) => {
    expect([...part.scores.subarray(part.indptr[row], part.indptr[row + 1])]).toEqual(
      own.map((slot) => all.data[indptr[row]! + slot]),
    );
  });
  const nothing = slots.map(() => []);
  expect(scorePart(scorer, batch, nothing).scores).toHaveLength(0);
});
