import { uniform } from "@kvcache/budget-uniform";
import { definePolicy, type Scorer, type SignalKind, validatePlan } from "@kvcache/core";
import { keyNorm, scorerFrom, windowAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { describe, expect, it } from "vitest";
import { criticalKV } from "./index.ts";

const over = (scorer: Scorer, recent: number) =>
  definePolicy({
    name: "wrapped",
    paper: "none",
    scorer,
    budget: uniform(),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent },
    queryAware: false,
    options: {},
  });

testPolicy("critical-kv", () => criticalKV({ policy: over(windowAttention({ window: 6 }), 6) }));
testPolicy("critical-kv over key norms", () =>
  criticalKV({ policy: over(keyNorm(), 3), firstStage: 0.2, epsilon: 0.01 }),
);

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
const n = 30;

describe("a choice in two stages", () => {
  const start = () => {
    const made = tokenCache({ shape, seed: 4, sequences: 1, maxTokens: n, windowSize: 1 });
    made.feed(0, n, { flags: 0 });
    return made;
  };
  /** Descending positions: 29 is worth most. */
  const policy = (firstStage: number) =>
    criticalKV({
      policy: over(
        scorerFrom("late", [], ({ positions }) => positions),
        0,
      ),
      firstStage,
    });

  it("keeps the best half by score, the other by score times projected value", async () => {
    const made = start();
    const model = made.batch("prefill").model!;
    const { kept } = await compressOnce(made, policy(0.5), { ratio: 0.4 });
    for (const [row, positions] of kept.entries()) {
      const [layer, head] = [row >> 1, row % 2];
      const weight = model.outputWeight(layer);
      const worth = (position: number) => {
        const { value } = made.tokens(0, layer, position);
        let norm = 0;
        for (const queryHead of [2 * head, 2 * head + 1])
          for (let channel = 0; channel < model.hiddenSize; channel++) {
            let product = 0;
            for (let c = 0; c < 4; c++)
              product += weight[channel * 16 + queryHead * 4 + c]! * value[head * 4 + c]!;
            norm += Math.abs(product) / 2;
          }
        return (position + 1e-4) * norm;
      };
      const first = [29, 28, 27, 26, 25, 24];
      const second = Array.from({ length: 24 }, (_, position) => position)
        .sort((a, b) => worth(b) - worth(a))
        .slice(0, 6);
      expect(positions).toEqual([...first, ...second].sort((a, b) => a - b));
    }
  });

  it("is the wrapped policy where the first stage takes all", async () => {
    const { kept } = await compressOnce(start(), policy(1), { tokens: 9 });
    for (const row of kept) expect(row).toEqual([21, 22, 23, 24, 25, 26, 27, 28, 29]);
  });
});

it("refuses a description of a policy, and options out of range", () => {
  expect(() => criticalKV({ policy: { name: "snap-kv" } as never })).toThrow("must be a policy");
  expect(() => criticalKV({ firstStage: 2 })).toThrow("firstStage");
  expect(() => criticalKV({ epsilon: -1 })).toThrow("epsilon");
});

it("is refused where nobody can give the output projection", () => {
  const plan = (...signals: SignalKind[]) =>
    validatePlan(
      { eviction: { policy: criticalKV(), target: { ratio: 0.5 } } },
      { shape, signals, windowSize: 64 },
    );
  expect(() => plan("windowQueries", "outputWeight")).not.toThrow();
  expect(() => plan("windowQueries")).toThrow("needs the signal outputWeight");
});
