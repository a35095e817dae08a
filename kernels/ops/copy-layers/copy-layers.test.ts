import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { scoreTable } from "../../src/test-score-table.ts";
import { copyLayers } from "./copy-layers.ts";

it("copies the rows of some layers", () => {
  const { batch } = scoreTable(
    [
      [[1], [1], [1], [1]],
      [[1], [1], [1], [1]],
    ],
    { numKvHeads: 2 },
  );
  const from = hostTensor(Uint32Array.of(1, 2, 3, 4, 5, 6, 7, 8));
  const to = hostTensor(new Uint32Array(8));
  copyLayers.reference({ batch, layers: [1], from, to });
  expect([...to.data]).toEqual([0, 0, 3, 4, 0, 0, 7, 8]);
});
