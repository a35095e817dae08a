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

it("makes policies inside policies of names and descriptions", () => {
  const byName = createPolicy("ada-kv", { policy: "knorm", safeguard: 0.1 });
  expect(byName.options).toMatchObject({ policy: { name: "knorm" }, safeguard: 0.1 });
  const policy = { name: "snap-kv", window: 7 };
  const nested = createPolicy("merging", { policy: { name: "chunk-kv", policy, chunk: 5 } });
  expect(nested.options.policy).toMatchObject({ name: "chunk-kv", chunk: 5, policy });
  expect(nested.protect).toEqual({ sinks: 0, recent: 7 });
  const list = createPolicy("composed", { policies: [policy, "knorm", snapKV({ window: 3 })] });
  expect(list.options.policies).toMatchObject([policy, { name: "knorm" }, { window: 3 }]);
  const phases = createPolicy("prefill-decoding", { prefill: policy, decoding: "streaming-llm" });
  expect(phases.options).toMatchObject({ prefill: policy, decoding: { name: "streaming-llm" } });
  for (const made of [byName, nested, list, phases])
    expect(createPolicy(made.name, made.options).options).toEqual(made.options);
});

it("says where in a description it went wrong", () => {
  const made = (policy: unknown) => () => createPolicy("merging", { policy });
  expect(made("snapkv2")).toThrow(/^policy: There is no policy named "snapkv2"/);
  expect(made({ name: "chunk-kv", policy: { name: "snap-kv", windw: 1 } })).toThrow(
    /^policy\.policy: Policy snap-kv has no option "windw"/,
  );
  expect(made({ name: "snap-kv", window: 0 })).toThrow(/^policy: window must be a whole number/);
  expect(made({ window: 3 })).toThrow("policy must be a policy");
  expect(made(7)).toThrow("policy must be a policy");
  expect(() => createPolicy("composed", { policies: ["knorm", "nope"] })).toThrow(
    /^policies\[1\]: There is no policy named "nope"/,
  );
});

it("refuses fields that a group of options does not have", () => {
  const pooling = { kind: "avg", sise: 5, size: 3 };
  expect(() => createPolicy("snap-kv", { pooling })).toThrow('no option "pooling.sise"');
  expect(() => createPolicy("ada-kv", { budget: { mode: "floor-blend", flor: 1 } })).toThrow(
    'no option "budget.flor"',
  );
  const layerBudget = { kind: "pyramid", bet: 5 };
  expect(() => createPolicy("ada-kv", { budget: { layerBudget } })).toThrow(
    '"budget.layerBudget.bet"',
  );
  expect(() => createPolicy("ada-kv", { protect: { sink: 1, sinks: 1, recent: 1 } })).toThrow(
    '"protect.sink"',
  );
  expect(() => createPolicy("ada-kv", { policy: "knorm", scorer: snapKV().scorer })).toThrow(
    "scorer and policy both",
  );
  expect(() => createPolicy("ada-kv", { variant: "authors", safeguard: 0.3 })).toThrow(
    "safeguard belongs to mode",
  );
});
