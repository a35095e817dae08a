import { expect, it } from "vitest";
import { convertHeadScores } from "./index.ts";

const given = {
  model: { name: "m", fingerprint: null },
  shape: { numLayers: 1, numQueryHeads: 2, numKvHeads: 1 },
};

it("takes the mean of each head's samples", () => {
  const { kind, arrays } = convertHeadScores('{"0-1": [0.2, 0.4], "0-0": 0.5}', given);
  expect(kind).toBe("head-kv");
  expect(arrays.headScores!.values[0]).toBe(0.5);
  expect(arrays.headScores!.values[1]).toBeCloseTo(0.3, 12);
});

it("refuses a file without one of the heads", () => {
  expect(() => convertHeadScores('{"0-0": [1]}', given)).toThrow("Head 0-1 has no score");
  expect(() => convertHeadScores('{"0-0": [1], "0-1": ["x"]}', given)).toThrow("Head 0-1");
  expect(() => convertHeadScores("[", given)).toThrow("not JSON");
});
