import type { StreamDecoder } from "@kvcache/decoder";
import { describe, expect, it } from "vitest";
import { Choice, type ChoiceOptions } from "./choice.ts";
import { Generation } from "./generation.ts";
import type { GenerationEvent } from "./generation-event.ts";

const letters = "abcdefgh";
const kv = { tokensSeen: 0, tokensKept: 0, bytesPeak: 0, bytesNow: 0, compressions: 0 };
/** A letter a token; the last token is half a character, which only the flush shows. */
const decoder = (): StreamDecoder => {
  let half = false;
  return {
    push(id) {
      half = id === 7;
      return half ? "" : letters[id]!;
    },
    flush: () => (half ? "?" : ""),
  };
};

function choose(ids: readonly number[], options: Partial<ChoiceOptions> = {}) {
  const generation = new Generation(3, 1, () => {});
  const choice = new Choice(generation, {
    index: 0,
    sampling: { temperature: 0 },
    seed: 0,
    promptIds: Int32Array.of(1, 2, 3),
    decoder: decoder(),
    stopStrings: [],
    stopIds: new Set([6]),
    maxTokens: 100,
    minTokens: 0,
    grammar: undefined,
    captures: false,
    promptScores: undefined,
    logprobs: undefined,
    ...options,
  });
  generation.choices.push(choice);
  let reason: ReturnType<Choice["take"]>;
  for (const id of ids) {
    const logits = new Float32Array(letters.length);
    logits[id] = 1;
    reason = choice.take(logits);
    if (reason) break;
  }
  generation.end(choice, reason ?? "abort", kv, 0);
  return { generation, choice, reason };
}

async function textsOf(generation: Generation) {
  const events: GenerationEvent[] = [];
  for await (const event of generation.stream) events.push(event);
  return events.map(({ text }) => text);
}

describe("choice", () => {
  it("holds text back while a stop string may follow, and drops it when it does", async () => {
    const { generation, reason } = choose([0, 1, 2, 1, 2, 3, 4], { stopStrings: ["bcd"] });
    expect(reason).toBe("stop");
    expect(await textsOf(generation)).toEqual(["a", "", "", "bc", "", "", ""]);
    expect(await generation.result).toMatchObject({
      text: "abc",
      stoppedBy: "bcd",
      finishReason: "stop",
      usage: { completionTokens: 6 },
    });
  });

  it("lets held text go at the end", async () => {
    const { generation } = choose([0, 1, 7], { stopStrings: ["bcd"], maxTokens: 3 });
    expect(await textsOf(generation)).toEqual(["a", "", "", "b?"]);
    expect(await generation.result).toMatchObject({ text: "ab?", finishReason: "length" });
  });

  it("does not show the text of a stop id", async () => {
    const { generation } = choose([0, 6]);
    expect(await generation.result).toMatchObject({ text: "a", stoppedBy: 6 });
  });

  it("lets penalties see prompt and answer", () => {
    const sampling = { temperature: 0, presencePenalty: 2 };
    const { choice } = choose([4, 4], { sampling, maxTokens: 2 });
    expect(choice.tokenIds).toEqual([4, 0]);
  });

  it("ends once", async () => {
    const { generation, choice } = choose([0], { maxTokens: 1 });
    generation.end(choice, "abort", kv, 0);
    expect((await generation.result).finishReason).toBe("length");
  });
});

describe("generation", () => {
  it("delivers what was emitted before an error, then the error", async () => {
    const generation = new Generation(1, 1, () => {});
    generation.events.push({ type: "token", index: 0, text: "a", tokenId: 0, time: 0 });
    generation.fail(new Error("trouble"));
    const iterator = generation.stream[Symbol.asyncIterator]();
    expect((await iterator.next()).value).toMatchObject({ text: "a" });
    await expect(iterator.next()).rejects.toThrow("trouble");
    await expect(generation.result).rejects.toThrow("trouble");
  });

  it("hears of a consumer that stops early", async () => {
    let left = false;
    const generation = new Generation(1, 1, () => {
      left = true;
    });
    generation.events.push({ type: "token", index: 0, text: "a", tokenId: 0, time: 0 });
    for await (const _ of generation.stream) break;
    expect(left).toBe(true);
  });
});
