import { adaKV as adaKVBudget } from "@kvcache/budget-ada-kv";
import { definePolicy } from "@kvcache/core";
import { keyNorm, scorerFrom } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { type AdaKVOptions, adaKV } from "./index.ts";

testPolicy("ada-kv", () => adaKV({ window: 8 }));
testPolicy("ada-kv, authors", () => adaKV({ variant: "authors", window: 6 }));
testPolicy("ada-kv over key norms", () =>
  adaKV({ scorer: keyNorm(), protect: { sinks: 2, recent: 4 } }),
);

const sliding = definePolicy({
  name: "sliding",
  paper: "none",
  scorer: scorerFrom("age", [], ({ positions }) => Array.from(positions, (p) => p / 100)),
  budget: adaKVBudget(),
  selector: topK(),
  trigger: { prefill: true, interval: 5, pressure: false },
  protect: { sinks: 2, recent: 1 },
  queryAware: true,
  options: { sinks: 2 },
});
testPolicy("ada-kv over a policy", () => adaKV({ policy: sliding, safeguard: 0.5 }));

it("takes scores, protection and moments of the policy it is put over", () => {
  const policy = adaKV({ policy: sliding, safeguard: 0.1 });
  expect(policy.scorer).toBe(sliding.scorer);
  expect(policy.protect).toEqual({ sinks: 2, recent: 1 });
  expect(policy.trigger).toEqual(sliding.trigger);
  expect(policy.queryAware).toBe(true);
  expect(policy.options).toMatchObject({
    policy: { name: "sliding", sinks: 2 },
    budget: { mode: "reserve-then-global", safeguard: 0.1 },
  });
  const given = { sinks: 0, recent: 9 };
  expect(adaKV({ policy: sliding, protect: given }).protect).toEqual(given);
  expect(() => adaKV({ policy: sliding, scorer: keyNorm() })).toThrow("both name scores");
  expect(() => adaKV({ policy: { name: "sliding" } as never })).toThrow("policy must be a policy");
  expect(() => adaKV({ variant: "authors", safeguard: 0.5 })).toThrow("reserve-then-global");
});

// The worked example, its tied entries set apart.
const worked = [
  [0.3, 0.2, 0.1501, 0.15, 0.1001, 0.1],
  [0.9, 0.04, 0.03, 0.0102, 0.0101, 0.01],
  [0.55, 0.25, 0.1, 0.05, 0.03, 0.02],
];
async function split(budget: NonNullable<AdaKVOptions["budget"]>) {
  const shape = { numLayers: 1, numQueryHeads: 3, numKvHeads: 3, headDim: 2 };
  const made = tokenCache({ shape, seed: 1, sequences: 1, maxTokens: 6, windowSize: 0 });
  made.feed(0, 6, { flags: 0 });
  const scorer = scorerFrom("worked", [], ({ head }) => worked[head]!);
  const policy = adaKV({ scorer, protect: { sinks: 0, recent: 0 }, budget });
  const { kept } = await compressOnce(made, policy, { tokens: 2 });
  return kept;
}

it("splits the worked example as the authors do", async () => {
  const reference = (floor: number) => split({ floor, rounding: "reference" });
  expect(await reference(0)).toEqual([[0, 1, 2], [0], [0, 1]]);
  expect(await reference(0.2)).toEqual([[0, 1], [0], [0, 1]]);
  expect(await reference(0.5)).toEqual([
    [0, 1],
    [0, 1],
    [0, 1],
  ]);
});

it("splits the worked example as kvpress does", async () => {
  const reserve = (safeguard: number) => split({ mode: "reserve-then-global", safeguard });
  expect(await reserve(0.2)).toEqual([[0, 1, 2], [0], [0, 1]]);
  expect(await reserve(1)).toEqual([
    [0, 1],
    [0, 1],
    [0, 1],
  ]);
});
