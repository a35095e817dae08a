import { blockSchedule } from "@kvcache/budget-block-schedule";
import { definePolicy } from "@kvcache/core";
import { keyNorm } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";
import { compressOnce, type TokenCache, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { kvCompress } from "./index.ts";

testPolicy("kv-compress", () => kvCompress({ observed: 8, protectedWindow: 8 }));
testPolicy("kv-compress, l1", () =>
  kvCompress({ observed: 20, norm: "l1", pooling: null, buffer: 2, sinks: 3, protectedWindow: 5 }),
);

const norms = (interval?: number) =>
  definePolicy({
    name: "norms",
    paper: "none",
    scorer: keyNorm(),
    budget: blockSchedule(),
    selector: topK(),
    trigger: { prefill: true, ...(interval && { interval }), pressure: false },
    protect: { sinks: 0, recent: 0 },
    queryAware: false,
    options: {},
  });
testPolicy("kv-compress over a policy", () =>
  kvCompress({ policy: norms(), protectedWindow: 6, sinks: 1 }),
);

it("frees the blocks that another policy's scores hold cheapest, when that policy may", async () => {
  const policy = kvCompress({ policy: norms(), protectedWindow: 1 });
  expect(policy.trigger).toEqual({ prefill: true, pressure: false });
  expect(kvCompress({ policy: norms(7) }).trigger).toMatchObject({ interval: 7 });
  expect(kvCompress({ policy: norms(7), interval: 3 }).trigger).toMatchObject({ interval: 3 });
  expect(policy.options).toMatchObject({ policy: { name: "norms" }, interval: null });
  const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 4 };
  const made = tokenCache({ shape, seed: 2, sequences: 1, maxTokens: 41, windowSize: 0 });
  made.feed(0, 41, { flags: 0 });
  const { kept } = await compressOnce(made, policy, { tokens: 20 });
  // Blocks of 4: 4 rows hold 11 and may keep 5 on average; the longest keys of each row went.
  expect(made.cache.sequenceStats(0).blocks).toBe(20);
  kept.forEach((row, r) => {
    const norm = (p: number) =>
      Math.hypot(...made.tokens(0, r >> 1, p).key.subarray((r & 1) * 4, (r & 1) * 4 + 4));
    const longest = Math.max(...row.map(norm));
    for (let p = 0; p < 41; p++)
      if (!row.includes(p)) expect(norm(p)).toBeGreaterThanOrEqual(longest);
  });
});

const shape = { numLayers: 1, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
const prompt = 30;
const start = () => {
  const made = tokenCache({ shape, seed: 3, sequences: 1, maxTokens: 200, windowSize: 8 });
  made.feed(0, prompt, { flags: 1 });
  return made;
};

/** Σ over queries and the group of a(query, key)², each query head pooled over `reach` neighbours. */
function metric({ tokens }: TokenCache, head: number, queries: number[], reach: number, n: number) {
  const { headDim } = shape;
  const total = new Array<number>(n).fill(0);
  for (const queryHead of [2 * head, 2 * head + 1]) {
    const squares = new Array<number>(n).fill(0);
    for (const position of queries) {
      const logits = Array.from({ length: position + 1 }, (_, j) => {
        let dot = 0;
        for (let c = 0; c < headDim; c++)
          dot +=
            tokens(0, 0, position).query[queryHead * headDim + c]! *
            tokens(0, 0, j).key[head * headDim + c]!;
        return Math.exp(dot / Math.sqrt(headDim));
      });
      const sum = logits.reduce((a, b) => a + b, 0);
      logits.forEach((logit, j) => {
        squares[j] = squares[j]! + (logit / sum) ** 2;
      });
    }
    squares.forEach((_, j) => {
      total[j] = total[j]! + Math.max(...squares.slice(Math.max(0, j - reach), j + reach + 1));
    });
  }
  return total;
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

it("starts from the prompt's last queries and goes on with every decoded token", async () => {
  const made = start();
  const policy = kvCompress({ observed: 8, protectedWindow: 3 });
  // A budget that evicts nothing, so that the sums stay comparable.
  const first = await compressOnce(made, policy, { tokens: 400 });
  for (let i = 0; i < 5; i++) made.feed(0, 1, { flags: 4 });
  const second = await compressOnce(made, policy, { tokens: 400 }, "decode");
  for (const head of [0, 1]) {
    const observed = metric(made, head, range(prompt - 8, prompt), 3, prompt);
    const decoded = metric(made, head, range(prompt, prompt + 5), 0, prompt + 5);
    // Of a window of 3 the third is the token about to be cached.
    range(0, prompt - 2).forEach((j) => {
      expect(Math.abs(first.scores[head]![j]! - observed[j]!)).toBeLessThan(1e-5);
    });
    expect(first.scores[head]!.slice(prompt - 2).every((score) => score === Infinity)).toBe(true);
    range(0, prompt + 3).forEach((j) => {
      const score = (observed[j] ?? 0) + decoded[j]!;
      expect(Math.abs(second.scores[head]![j]! - score)).toBeLessThan(1e-5);
    });
  }
});

it("never holds more blocks than its budget while it decodes", async () => {
  const made = start();
  const policy = kvCompress({ observed: 8, protectedWindow: 8 });
  await compressOnce(made, policy, { tokens: 16 });
  for (let next = prompt; next < 190; next++) {
    made.feed(0, 1, { flags: 4 });
    const { kept } = await compressOnce(made, policy, { tokens: 16 }, "decode");
    // Blocks of 4 tokens, 16 tokens a head, two heads.
    expect(made.cache.sequenceStats(0).blocks).toBeLessThanOrEqual(8);
    for (const row of kept) expect(row.slice(-7)).toEqual(range(next - 6, next + 1));
  }
});

it("schedules many sequences in one call, each as if it were alone", async () => {
  const fed = (sequences: number, own: number) => {
    const made = tokenCache({ shape, seed: 3, sequences, maxTokens: 90, windowSize: 8 });
    for (const sequence of made.sequences) made.feed(sequence, 40 + 20 * sequence, { flags: 1 });
    return { made, rows: [own * 2, own * 2 + 1] };
  };
  const policy = kvCompress({ observed: 8, protectedWindow: 8 });
  for (const target of [{ tokens: 16 }, { ratio: 0.4 }]) {
    const together = await compressOnce(fed(3, 0).made, policy, target);
    for (const sequence of [0, 1, 2]) {
      const { made, rows } = fed(3, sequence);
      const alone = { ...made, sequences: [sequence] };
      const { kept } = await compressOnce(
        { ...alone, batch: (phase) => made.batch(phase, [sequence]) },
        policy,
        target,
      );
      expect(kept).toEqual(rows.map((row) => together.kept[row]));
    }
  }
});
