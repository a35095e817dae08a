import { testBudget } from "@kvcache/testing";
import { expect, it } from "vitest";
import { adaKV } from "./index.ts";

testBudget("ada-kv", () => adaKV(), { exact: true });
testBudget("ada-kv, reference rounding", () => adaKV({ floor: 0.35, rounding: "reference" }), {
  drift: 1,
});
testBudget("ada-kv, pyramid", () => adaKV({ layerBudget: { kind: "pyramid", beta: 5 } }));
testBudget("ada-kv, normalised", () => adaKV({ normalize: true, skipLayers: 1 }), { exact: true });
testBudget("ada-kv, reserve", () => adaKV({ mode: "reserve-then-global" }), { exact: true });
testBudget("ada-kv, pure", () => adaKV({ mode: "reserve-then-global", safeguard: 0 }), {
  exact: true,
});

it("refuses weights that are no fractions", () => {
  expect(() => adaKV({ floor: 1.5 })).toThrow("floor must be in [0, 1], got 1.5");
  expect(() => adaKV({ mode: "reserve-then-global", safeguard: -1 })).toThrow("safeguard");
});
