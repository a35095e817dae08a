import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { scoreTable } from "../../src/test-score-table.ts";
import { headMeans } from "./head-means.ts";

const inf = Number.POSITIVE_INFINITY;

it("averages a token's scores over the heads that hold it", () => {
  const { batch, scores } = scoreTable(
    [
      [
        [1, 2, 3],
        [5, 4],
        [0, inf],
        [8, 2],
      ],
    ],
    { numKvHeads: 2 },
  );
  const out = hostTensor(new Float32Array(batch.totalSlots));
  headMeans.reference({ batch, scores, out });
  expect([...out.data]).toEqual([3, 3, 3, 3, 3, 4, inf, 4, inf]);
});
