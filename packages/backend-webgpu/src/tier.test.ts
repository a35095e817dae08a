import { expect, it } from "vitest";
import { chooseTier, detectTier, tierFeatures } from "./tier.ts";

const features = (...names: string[]) => new Set(names);

it("each tier includes those before it", () => {
  expect(detectTier(features())).toBe("T0");
  expect(detectTier(features("shader-f16"))).toBe("T0");
  expect(detectTier(features("subgroups"))).toBe("T1");
  expect(detectTier(features("subgroups", "shader-f16"))).toBe("T2");
  expect(tierFeatures("T0")).toEqual([]);
  expect(tierFeatures("T2")).toEqual(["subgroups", "shader-f16"]);
});

it("takes what is built, and refuses what is out of reach", () => {
  expect(chooseTier(features("subgroups", "shader-f16"))).toBe("T1");
  expect(chooseTier(features("subgroups"), "T0")).toBe("T0");
  expect(chooseTier(features())).toBe("T0");
  expect(chooseTier(features(), "T0")).toBe("T0");
  expect(() => chooseTier(features(), "T1")).toThrow(/out of reach/);
  expect(() => chooseTier(features("subgroups", "shader-f16"), "T2")).toThrow(/exist for T1/);
  expect(() => chooseTier(features(), "T9" as "T0")).toThrow(/no tier T9/);
});
