import { expect, it } from "vitest";
import { parsePlan } from "./plan-spec.ts";

const optionsOf = (text: string) => parsePlan(text, "0.5").eviction!.policy.options;

it("reads policy, nested options and budget", () => {
  const { eviction } = parsePlan("snap-kv:window=32,pooling.size=21@0.25");
  expect(eviction!.policy.options).toMatchObject({
    window: 32,
    pooling: { kind: "avg", size: 21 },
  });
  expect(eviction!.target).toEqual({ ratio: 0.25 });
  expect(parsePlan("streaming-llm", "512").eviction!.target).toEqual({ tokens: 512 });
  expect(parsePlan("full")).toEqual({});
  expect(optionsOf("snap-kv(window=32,pooling.size=21)")).toEqual(eviction!.policy.options);
});

it("reads policies inside policies, and lists", () => {
  const ada = parsePlan("ada-kv(policy=key-diff,safeguard=.1)@0.25").eviction!;
  expect(ada.target).toEqual({ ratio: 0.25 });
  expect(ada.policy.options).toMatchObject({
    policy: { name: "key-diff" },
    safeguard: 0.1,
    budget: { mode: "reserve-then-global", safeguard: 0.1 },
  });
  const snap = { name: "snap-kv", window: 32, pooling: { kind: "avg", size: 7 } };
  const nested = "merging:policy=chunk-kv(policy=snap-kv(window=32,pooling.size=7),chunk=8)";
  expect(optionsOf(nested)).toMatchObject({ policy: { name: "chunk-kv", chunk: 8, policy: snap } });
  expect(optionsOf("composed(policies=[snap-kv(window=32,pooling.size=7), knorm])")).toMatchObject({
    policies: [snap, { name: "knorm" }],
  });
  expect(optionsOf("per-layer(ratios=[1,.5,.25,.25],policy=null)")).toMatchObject({
    policy: null,
    ratios: [1, 0.5, 0.25, 0.25],
  });
});

it("completes groups of options from the variant and the options beside them", () => {
  expect(optionsOf("snap-kv(variant=kvcache-factory,pooling.size=5)")).toMatchObject({
    pooling: { kind: "max", size: 5 },
  });
  expect(optionsOf("ada-kv(window=16,protect.sinks=4)")).toMatchObject({
    protect: { sinks: 4, recent: 16 },
  });
  expect(
    optionsOf("ada-kv(budget.mode=floor-blend,budget.layerBudget.kind=pyramid)"),
  ).toMatchObject({ budget: { mode: "floor-blend", layerBudget: { kind: "pyramid" } } });
});

it.each([
  ["full@0.25", "takes no budget"],
  ["snap-kv", "needs a budget"],
  ["snapkv@0.5", "snap-kv"],
  ["snap-kv:windw=3@0.5", "windw"],
  ["snap-kv:pooling.sise=5@0.5", "pooling.sise"],
  ["ada-kv(budget.flor=.5)@0.5", "budget.flor"],
  ["chunk-kv(policy=snap-kv(windw=3))@0.5", "Policy snap-kv has no option .windw"],
  ["chunk-kv(policy=snpa-kv)@0.5", "policy: There is no policy named .snpa-kv"],
  ["snap-kv:window=3=4@0.5", "name=value"],
  ["snap-kv:__proto__.x=1@0.5", "name=value"],
  ["snap-kv:window@0.5", "name=value"],
  ["snap-kv(window=@0.5", "name=value"],
  ["snap-kv(window=3@0.5", "name=value|not a plan"],
  ["snap-kv(window=3)x@0.5", "not a plan"],
  ["per-layer(ratios=[1,)@0.5", "name=value"],
  ["snap-kv(window=3)@", "not a plan"],
  ["snap-kv@0", "not a budget|must be"],
  ["snap-kv@2.5", "must be"],
  ["", "not a plan"],
])("refuses %j with a remedy", (text, message) =>
  expect(() => parsePlan(text)).toThrow(new RegExp(message)),
);
