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
    expect(createPolicy(name, options).options).toEqual(options);
  }
  expect(Object.keys(policies).sort()).toEqual(policyNames);
});

it("refuses options that are out of range, by name", () => {
  expect(() => createPolicy("snap-kv", { window: 0 })).toThrow("window must be a whole number");
  expect(() => createPolicy("snap-kv", { variant: "x" })).toThrow('variant cannot be "x"');
  expect(() => createPolicy("snap-kv", { pooling: { kind: "avg", size: 4 } })).toThrow("pooling");
  expect(() => createPolicy("ada-kv", { budget: { mode: "x" } })).toThrow('mode cannot be "x"');
  expect(() => createPolicy("ada-kv", { scorer: { name: "tova" } })).toThrow("must be a Scorer");
  expect(() => createPolicy("kv-compress", { protectedWindow: -1 })).toThrow("protectedWindow");
  expect(() => createPolicy("kv-compress", { norm: "l3" })).toThrow('norm cannot be "l3"');
  expect(() => createPolicy("streaming-llm", { sinks: -1 })).toThrow("protect.sinks");
  expect(() => createPolicy("streaming-llm", { interval: 0 })).toThrow("trigger.interval");
});

it("refuses what it does not know, and says what there is", () => {
  expect(() => createPolicy("SnapKV2")).toThrow(/no policy named "SnapKV2".*Did you mean snap-kv/);
  expect(() => createPolicy("constructor")).toThrow("no policy named");
  expect(() => createPolicy("snap-kv", { windows: 3 })).toThrow(
    /no option "windows".*It takes: variant, window/,
  );
});
