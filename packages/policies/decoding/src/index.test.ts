import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import { position } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { decoding } from "./index.ts";

const sliding = definePolicy({
  name: "sliding",
  paper: "none",
  scorer: position(),
  budget: uniform(),
  selector: topK(),
  trigger: { prefill: true, pressure: true },
  protect: { sinks: 2, recent: 0 },
  queryAware: false,
  options: { sinks: 2 },
});

testPolicy("decoding", () => decoding({ interval: 4 }));
testPolicy("decoding over a policy", () => decoding({ policy: sliding }));

const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 1, headDim: 4 };

it("leaves the prompt alone", () => {
  expect(decoding({ policy: sliding, interval: 8 }).trigger).toEqual({
    prefill: false,
    interval: 8,
    pressure: false,
  });
  expect(decoding({ policy: sliding }).options).toEqual({
    policy: { name: "sliding", sinks: 2 },
    interval: 512,
  });
  expect(() => decoding({ interval: 0 })).toThrow("trigger.interval");
});

it("evicts down to the target every time, and keeps a ratio of what was ever seen", async () => {
  const run = async (target: { tokens: number } | { ratio: number }) => {
    const made = tokenCache({ shape, seed: 1, sequences: 1, maxTokens: 90, windowSize: 0 });
    made.feed(0, 30, { flags: 0 });
    const lengths: number[] = [];
    for (let event = 0; event < 4; event++) {
      made.feed(0, 8, { flags: 0 });
      const { kept } = await compressOnce(made, decoding({ policy: sliding }), target, "decode");
      lengths.push(kept[0]!.length);
      expect(kept[0]!.slice(0, 3)).toEqual([
        0,
        1,
        made.cache.host.nextPositions[0]! - kept[0]!.length + 2,
      ]);
    }
    return lengths;
  };
  expect(await run({ tokens: 20 })).toEqual([20, 20, 20, 20]);
  expect(await run({ ratio: 0.5 })).toEqual([19, 23, 27, 31]);
});
