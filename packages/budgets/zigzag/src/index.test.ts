import { defineKernel, hostArray } from "@kvcache/core";
import { testBudget } from "@kvcache/testing";
import { expect, it } from "vitest";
import { type LayerMeasure, lmba, lmbo, zigzag } from "./index.ts";

/** Needs that rise and fall from layer to layer. */
const uneven: LayerMeasure = {
  needs: [],
  record: (encoder, _, out) =>
    encoder.run(
      defineKernel<undefined>({
        name: "uneven",
        reference() {
          const values = hostArray(out, "f32");
          values.set(values.map((_, i) => (i * 7) % 5));
        },
      }),
      undefined,
    ),
};

testBudget("zigzag", () => zigzag({ measure: uneven }));
testBudget("zigzag, fixed floor", () => zigzag({ measure: uneven, minTokens: 5 }));

it("asks for the queries that its measure looks at", () => {
  expect(zigzag().needs).toEqual([{ kind: "windowQueries", window: 32 }]);
  expect(zigzag({ measure: lmbo({ window: 5 }) }).needs).toEqual([
    { kind: "windowQueries", window: 5 },
  ]);
});

it("refuses options that are out of range", () => {
  expect(() => zigzag({ measure: uneven, minTokens: 0 })).toThrow("minTokens");
  expect(() => zigzag({ measure: uneven, minFraction: 2 })).toThrow("minFraction");
  expect(() => lmba({ window: 8, tau: 1.5 })).toThrow("tau");
  expect(() => lmba({ window: 8, granularity: "x" as "kvHead" })).toThrow("granularity");
  expect(() => lmbo({ window: 0 })).toThrow("window");
});
