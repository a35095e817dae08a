import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { gatherPositions, rowView } from "../../src/row-view.ts";
import { randomFloats, randomNumbers, testBatch, testCache } from "../../src/test-cache.ts";
import { scoreTable } from "../../src/test-score-table.ts";
import { lagCounts } from "../lag-counts/lag-counts.ts";
import { lagSpread } from "../lag-spread/lag-spread.ts";
import { lagRank } from "./lag-rank.ts";

const shape = { numLayers: 1, numQueryHeads: 1, numKvHeads: 1, headDim: 5 };

function filled() {
  const made = testCache(shape, { blockSize: 4 });
  made.append(0, 30);
  made.writeKeys(0, 0, 0, randomFloats(randomNumbers(7), 150));
  return made;
}

function ranked({ cache }: ReturnType<typeof filled>): Map<number, number> {
  const batch = testBatch(cache, [0]);
  const out = hostTensor(new Float32Array(batch.totalSlots));
  lagRank.reference({ batch, sinks: 2, lag: 6, out });
  return new Map([...gatherPositions(rowView(cache, 0, 0, 0))].map((at, j) => [at, out.data[j]!]));
}

it("orders each partition as the spread does, whatever the order of slots", () => {
  const made = filled();
  const spread = hostTensor(new Float32Array(30));
  const batch = testBatch(made.cache, [0]);
  lagSpread.reference({ batch, sinks: 2, lag: 6, crossScoring: false, out: spread });
  const expected = Array.from({ length: 30 }, (_, j) =>
    j < 2 || j >= 20 ? Number.POSITIVE_INFINITY : Math.round(spread.data[j]! * 6) - 5,
  );
  made.keep(
    0,
    0,
    0,
    Array.from({ length: 30 }, (_, j) => (j * 7) % 30),
  );
  const got = ranked(made);
  expect(Array.from(expected, (_, j) => got.get(j))).toEqual(expected);
});

it("keeps its order where a partition has lost its worst tokens", () => {
  const made = filled();
  const before = ranked(made);
  const worst = [...before].filter(([at, rank]) => at < 14 && rank < -2).map(([at]) => at);
  made.keep(
    0,
    0,
    0,
    Array.from({ length: 30 }, (_, j) => j).filter((j) => !worst.includes(j) || j >= 8),
  );
  for (const [at, rank] of ranked(made)) if (at < 8) expect(rank).toBe(before.get(at));
});

it("compares nothing before two partitions are whole", () => {
  const made = testCache(shape, { blockSize: 4 });
  made.append(0, 13);
  made.writeKeys(0, 0, 0, randomFloats(randomNumbers(7), 65));
  expect(new Set(ranked(made).values())).toEqual(new Set([Number.POSITIVE_INFINITY]));
});

it("counts the first places of every partition", () => {
  const P = Number.POSITIVE_INFINITY;
  const { batch, scores } = scoreTable([
    [
      [P, 0, -2, -1, 0, -1, P],
      [-3, -4],
    ],
  ]);
  const counts = hostTensor(new Uint32Array(2));
  const kept = (places: number) => {
    lagCounts.reference({ batch, scores, perPartition: [places], counts });
    return [...counts.data];
  };
  expect(kept(2)).toEqual([6, 1]);
  expect(kept(0)).toEqual([2, 1]);
  expect(kept(9)).toEqual([7, 2]);
});
