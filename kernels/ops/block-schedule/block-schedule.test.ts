import { cacheLayout, hostTensor } from "@kvcache/core";
import fc from "fast-check";
import { expect, it } from "vitest";
import { scoreTable } from "../../src/test-score-table.ts";
import { blockSchedule } from "./block-schedule.ts";
import { blocksToEvict } from "./blocks-to-evict.ts";

const inf = Number.POSITIVE_INFINITY;

function run(sequences: readonly (readonly (readonly number[])[])[], evictBlocks: number) {
  const { batch, scores } = scoreTable(sequences, { blockSize: 4 });
  const counts = hostTensor(new Uint32Array(batch.numRows));
  const target = { tokens: 1 };
  blockSchedule.reference({ batch, target, scores, protectedWindow: 0, evictBlocks, counts });
  return [...counts.data];
}

const worked = [
  [0.9, 0.1, 0.2, 0.3, 0.05, 0.6, 0.7, 0.8, 0.4, inf],
  [0.01, 0.02, 0.03, 0.95, 0.04, 0.06, 0.07, 0.08, inf],
];

it("evicts the worked example's blocks", () => {
  expect(run([worked], 0)).toEqual([10, 9]);
  expect(run([worked], 1)).toEqual([10, 8]);
  expect(run([worked], 2)).toEqual([10, 4]);
  expect(run([worked], 3)).toEqual([8, 4]);
  expect(run([worked], 4)).toEqual([4, 4]);
  expect(run([worked], 99)).toEqual([4, 4]);
});

it("decides for each sequence of a batch alone", () => {
  expect(run([worked, [...worked].reverse()], 2)).toEqual([10, 4, 4, 10]);
});

it("never empties a row, and orders equal costs by row", () => {
  expect(
    run(
      [
        [
          [1, 1, 1, 1, 1],
          [1, 1, 1],
        ],
      ],
      9,
    ),
  ).toEqual([4, 3]);
  expect(
    run(
      [
        [
          [1, 1, 1, 1, 1],
          [1, 1, 1, 1, 1],
        ],
      ],
      1,
    ),
  ).toEqual([4, 5]);
});

/** Walks one ascending list of all slots; a head wins a block when its countdown reaches zero. */
function byMergedList(rows: readonly (readonly number[])[], blocks: number, blockSize: number) {
  const hang = rows.map((row) => ((row.length - 1) % blockSize) + 1);
  const countdown = [...hang];
  const seen = rows.map(() => 0);
  const won = rows.map(() => 0);
  const slots = rows.flatMap((row, head) => row.map((cost, slot) => ({ cost, head, slot })));
  slots.sort((a, b) => a.cost - b.cost || a.head - b.head || a.slot - b.slot);
  let left = blocks;
  for (const { cost, head } of slots) {
    if (left === 0 || cost === inf) break;
    seen[head] = seen[head]! + 1;
    countdown[head] = countdown[head]! - 1;
    if (countdown[head] === 0) {
      won[head] = seen[head]!;
      countdown[head] = blockSize;
      left--;
    }
  }
  return rows.map((row, head) => row.length - won[head]!);
}

it("equals the walk over one merged list of all slots", () => {
  const row = fc.uniqueArray(fc.integer({ min: 1, max: 1 << 20 }), { minLength: 1, maxLength: 23 });
  fc.assert(
    fc.property(fc.array(row, { minLength: 1, maxLength: 5 }), fc.nat(30), (values, blocks) => {
      // Distinct over all rows, and the last slot of each protected.
      const rows = values.map((own, head) => [...own.map((value) => value * 8 + head), inf]);
      expect(run([rows], blocks)).toEqual(byMergedList(rows, blocks, 4));
    }),
  );
});

it("asks for the blocks that a target allows", () => {
  const layout = cacheLayout(
    { numLayers: 1, numQueryHeads: 2, numKvHeads: 2, headDim: 4 },
    { blockSize: 16 },
  );
  const demand = {
    lengths: [97, 97],
    nextPosition: 97,
    blockSize: 16,
    protectedWindow: 16,
    layout,
  };
  // 2 × 7 blocks held; 49 tokens round up to 4 blocks a row.
  expect(blocksToEvict({ ...demand, target: { tokens: 49 } })).toBe(6);
  // Beyond one protected block: 82 × 2 × 0.5 = 82 tokens stay, 194 − 82 − 32 = 80 go.
  expect(blocksToEvict({ ...demand, target: { ratio: 0.5 } })).toBe(5);
  // 64 bytes a token: 49 tokens round down to 3 blocks a row.
  expect(blocksToEvict({ ...demand, target: { bytes: 49 * 64 } })).toBe(8);
  expect(blocksToEvict({ ...demand, target: { tokens: 400 } })).toBe(0);
  expect(blocksToEvict({ ...demand, target: { ratio: 0.1 }, protectedWindow: 98 })).toBe(0);
});
