import { expect, it } from "vitest";
import { parsePlan } from "./plan-spec.ts";

it("reads policy, nested options and budget", () => {
  const { eviction } = parsePlan("snap-kv:window=32,pooling.size=21@0.25");
  expect(eviction!.policy.options).toMatchObject({
    window: 32,
    pooling: { kind: "avg", size: 21 },
  });
  expect(eviction!.target).toEqual({ ratio: 0.25 });
  expect(parsePlan("streaming-llm", "512").eviction!.target).toEqual({ tokens: 512 });
  expect(parsePlan("full")).toEqual({});
});

it.each([
  ["full@0.25", "takes no budget"],
  ["snap-kv", "needs a budget"],
  ["snapkv@0.5", "snap-kv"],
  ["snap-kv:windw=3@0.5", "windw"],
  ["snap-kv:window=3=4@0.5", "name=value"],
  ["snap-kv:__proto__.x=1@0.5", "name=value"],
  ["snap-kv:window@0.5", "name=value"],
  ["snap-kv@0", "not a budget|must be"],
  ["snap-kv@2.5", "must be"],
  ["", "not a plan"],
])("refuses %j with a remedy", (text, message) =>
  expect(() => parsePlan(text)).toThrow(new RegExp(message)),
);
