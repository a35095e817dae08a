import { expect, it } from "vitest";
import { createPolicy, policies, policyNames, snapKV } from "./index.ts";

it("makes every policy by its name", () => {
  expect(policyNames).toContain("snap-kv");
  for (const name of policyNames) expect(createPolicy(name).name).toBe(name);
  expect(createPolicy("snap-kv", { window: 7 }).options).toEqual(snapKV({ window: 7 }).options);
});

it("lists every option that a policy takes", () => {
  for (const name of policyNames) {
    const { options } = createPolicy(name);
    const again = createPolicy(name, options.scorer ? { ...options, scorer: undefined } : options);
    expect(again.options).toEqual(options);
  }
  expect(Object.keys(policies).sort()).toEqual(policyNames);
});

it("refuses what it does not know, and says what there is", () => {
  expect(() => createPolicy("SnapKV2")).toThrow(/no policy named "SnapKV2".*Did you mean snap-kv/);
  expect(() => createPolicy("constructor")).toThrow("no policy named");
  expect(() => createPolicy("snap-kv", { windows: 3 })).toThrow(
    /no option "windows".*It takes: variant, window/,
  );
});
