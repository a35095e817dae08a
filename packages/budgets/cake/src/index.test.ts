import { defineKernel, hostArray } from "@kvcache/core";
import { testBudget } from "@kvcache/testing";
import { expect, it } from "vitest";
import { cake, type LayerPreference } from "./index.ts";

/** Preferences that rise and fall from layer to layer. */
const measure: LayerPreference = {
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

testBudget("cake", () => cake({ window: 4, measure }));

it("asks for the queries it observes", () => {
  expect(cake().needs).toEqual([{ kind: "windowQueries", window: 32 }]);
});

it("refuses options that are out of range", () => {
  expect(() => cake({ window: 0 })).toThrow("window");
  expect(() => cake({ tau1: 0 })).toThrow("tau1 must be above 0, got 0");
  expect(() => cake({ tau2: Number.NaN })).toThrow("tau2");
});
