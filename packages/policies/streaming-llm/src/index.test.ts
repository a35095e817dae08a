import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { streamingLLM } from "./index.ts";

testPolicy("streaming-llm", () => streamingLLM());
testPolicy("streaming-llm, no sinks", () => streamingLLM({ sinks: 0, interval: 1 }));

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 1, headDim: 2 };
const ascending = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => from + i);

it("keeps sinks and a sliding window however long the stream is", async () => {
  const made = tokenCache({ shape, seed: 1, sequences: 1, maxTokens: 400, windowSize: 0 });
  made.feed(0, 129, { flags: 0 });
  for (let next = 129; next < 300; next += 19) {
    const { kept } = await compressOnce(made, streamingLLM(), { tokens: 64 }, "decode");
    const expected = [0, 1, 2, 3, ...ascending(next - 60, next)];
    expect(kept).toEqual([expected, expected]);
    made.feed(0, 19, { flags: 0 });
  }
});

it("loses sinks only when it is told to follow the ratio", async () => {
  const after = async (keepProtected: boolean) => {
    const made = tokenCache({ shape, seed: 1, sequences: 1, maxTokens: 9, windowSize: 0 });
    made.feed(0, 5, { flags: 0 });
    return (await compressOnce(made, streamingLLM({ keepProtected }), { ratio: 0.5 })).kept[0];
  };
  expect(await after(true)).toEqual([0, 1, 2, 3]);
  expect(await after(false)).toHaveLength(2);
});
