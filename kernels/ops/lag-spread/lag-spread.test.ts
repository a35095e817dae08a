import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { entryStore } from "../../src/entry-store.ts";
import { gatherKeys, gatherPositions, gatherValues, rowView, slotOf } from "../../src/row-view.ts";
import { randomFloats, randomNumbers, testBatch, testCache } from "../../src/test-cache.ts";
import { lagSpread } from "./lag-spread.ts";

const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 2, headDim: 5 };
const blockSize = 4;

/** A row of random entries; `change` may alter them by side, token and channel. */
function filled(tokens: number, change = (x: number, _c: number) => x) {
  const made = testCache(shape, { blockSize });
  made.append(0, tokens);
  const random = randomNumbers(tokens);
  for (const head of [0, 1])
    for (const side of ["key", "value"] as const) {
      const view = rowView(made.cache, 0, 0, head);
      const numbers = randomFloats(random, tokens * 5).map((x, i) => change(x, i % 5));
      for (let j = 0; j < tokens; j++) {
        const slot = slotOf(view, j);
        const block = Math.floor(slot / blockSize);
        entryStore(view.arena, side).write(block, slot % blockSize, numbers, j * 5);
      }
    }
  return made;
}

function scores({ cache }: ReturnType<typeof testCache>, options: object): Float32Array {
  const batch = testBatch(cache, [0]);
  const out = hostTensor(new Float32Array(batch.totalSlots));
  lagSpread.reference({ batch, out, sinks: 2, lag: 6, crossScoring: true, ...options });
  return out.data as Float32Array;
}

/** Softmax over a partition of the standard deviations of normalised tokens, from the definition. */
function spread(entries: number[][], next: number[][]): number[] {
  const deviations = entries.map((entry) => {
    const normal = entry.map((x, c) => {
      const column = next.map((other) => other[c]!);
      return (x - Math.min(...column)) / (Math.max(...column) - Math.min(...column));
    });
    const mean = normal.reduce((sum, x) => sum + x, 0) / normal.length;
    const squares = normal.reduce((sum, x) => sum + (x - mean) ** 2, 0);
    return Math.exp(Math.sqrt(squares / (normal.length - 1)));
  });
  const sum = deviations.reduce((total, x) => total + x, 0);
  return deviations.map((x) => x / sum);
}

it("compares each partition with the next, in the order of positions", () => {
  const made = filled(40);
  // 34 of 40 tokens, in a scrambled order.
  const random = randomNumbers(9);
  const slots = Array.from({ length: 40 }, (_, j) => j).filter((j) => j % 7 !== 3);
  made.keep(
    0,
    0,
    1,
    slots.sort(() => random() - 0.5),
  );
  const got = scores(made, {});
  let at = 0;
  for (const head of [0, 1]) {
    const view = rowView(made.cache, 0, 0, head);
    const positions = [...gatherPositions(view)];
    const order = [...positions.keys()].sort((a, b) => positions[a]! - positions[b]!);
    const rows = [gatherKeys(view), gatherValues(view)].map((data) =>
      order.map((slot) => [...data.subarray(slot * 5, slot * 5 + 5)]),
    );
    const partitions = Math.floor((order.length - 2) / 6);
    order.forEach((slot, j) => {
      const partition = Math.floor((j - 2) / 6);
      const score = got[at + slot]!;
      if (j < 2 || partition >= partitions - 1) {
        expect(score).toBeGreaterThanOrEqual(1);
        return;
      }
      const start = 2 + partition * 6;
      const expected = rows.map(
        (row) => spread(row.slice(start, start + 6), row.slice(start + 6, start + 12))[j - start]!,
      );
      expect(score).toBeCloseTo((expected[0]! + expected[1]!) / 2, 6);
    });
    at += order.length;
  }
});

it("does not change when a channel is scaled and shifted", () => {
  const plain = scores(filled(30), {});
  const affine = scores(
    filled(30, (x, c) => x * (c + 0.5) - 2 * c),
    {},
  );
  plain.forEach((score, j) => {
    expect(affine[j]).toBeCloseTo(score, 5);
  });
});

it("ranks every partition alike, so that all lose equally", () => {
  const got = scores(filled(44), { crossScoring: false });
  for (const row of [got.subarray(0, 44), got.subarray(44)])
    for (let start = 2; start + 12 <= 44 - 1; start += 6)
      expect([...row.subarray(start, start + 6)].sort()).toEqual(
        [0, 1, 2, 3, 4, 5].map((rank) => Math.fround(rank / 6)),
      );
});

it("prefers sinks and the latest tokens of a row too short to compare", () => {
  const got = [...scores(filled(13), {}).subarray(0, 13)];
  expect(got.slice(0, 2)).toEqual([2, 2]);
  for (let j = 3; j < 13; j++) expect(got[j]).toBeGreaterThan(got[j - 1]!);
  expect(got[12]).toBeLessThan(1);
});

it("counts a channel that does not vary as nothing", () => {
  const got = scores(
    filled(30, (x, c) => (c === 0 ? 3 : x)),
    {},
  );
  expect(got.every(Number.isFinite)).toBe(true);
});
