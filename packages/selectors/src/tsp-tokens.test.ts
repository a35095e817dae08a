import { expect, it } from "vitest";
import { tspTokens } from "./tsp-tokens.ts";

const inf = Number.POSITIVE_INFINITY;

it("passes on what all heads together look at, the window included", () => {
  const scores = [1, 5, 0, 2, inf, inf, 3, 0, 2, 2, inf, inf];
  expect([...tspTokens(scores, 2, 4)]).toEqual([0, 1, 4, 5]);
  expect([...tspTokens(scores, 2, 9)]).toEqual([0, 1, 2, 3, 4, 5]);
});
