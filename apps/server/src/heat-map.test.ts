import { expect, it } from "vitest";
import { heatMap } from "./heat-map.ts";

it("draws one line a head and one cell a layer", () => {
  const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 8 };
  expect(heatMap([100, 25, 1, 50], shape, 100)).toEqual([
    "head 0 ██ 100% ░░   1%",
    "head 1 ▒▒  25% ▓▓  50%",
  ]);
});
