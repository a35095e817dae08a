import { gatherPositions, gatherValues, rowView, slotOf } from "@kvcache/kernels";
import { forwardMerging } from "@kvcache/selectors";
import { compressOnce, type TokenCache, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { cam } from "./index.ts";

testPolicy("cam", () => cam({ interval: 4, mergeBudget: 3 }));

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
const n = 40;
const start = () => {
  const made = tokenCache({ shape, seed: 15, sequences: 1, maxTokens: n, windowSize: 0 });
  made.feed(0, 30, { flags: 0 });
  for (let i = 0; i < 10; i++) made.feed(0, 1, { flags: 2 });
  return made;
};
function rowsOf({ cache }: TokenCache) {
  return [0, 1, 2, 3].map((row) => {
    const view = rowView(cache.host, 0, row >> 1, row & 1);
    const values = gatherValues(view);
    return new Map(
      Array.from(gatherPositions(view), (position, slot) => [
        position,
        {
          value: [...values.subarray(slot * 4, slot * 4 + 4)],
          attention: view.arena.sumAttention[slotOf(view, slot)]!,
        },
      ]),
    );
  });
}

it("adds the values of the youngest evicted tokens to the next kept ones, by their attention", async () => {
  const made = start();
  const before = rowsOf(made);
  const asked: { row: number; position: number; probability: number }[] = [];
  const policy = {
    ...cam({ interval: 5, mergeBudget: 3 }),
    transform: forwardMerging({
      merges: 5,
      neighbours: 3,
      seed: 0,
      draw: ({ layer, head, position, probability }) => {
        asked.push({ row: 2 * layer + head, position, probability });
        return position % 2 === 0;
      },
    }),
  };
  const { kept } = await compressOnce(made, policy, { tokens: 20 }, "decode");
  const after = rowsOf(made);
  // The oldest after four sinks go: 4 … 23, of which the last five are candidates.
  const expected = [0, 1, 2, 3, ...Array.from({ length: 16 }, (_, i) => 24 + i)];
  for (const row of kept) expect(row).toEqual(expected);
  expect(asked.map(({ row, position }) => [row, position])).toEqual(
    [0, 1, 2, 3].flatMap((row) => [19, 20, 21, 22, 23].map((position) => [row, position])),
  );
  for (const { row, position, probability } of asked) {
    const attention = (p: number) => before[row]!.get(p)!.attention;
    const mean = (attention(24) + attention(25) + attention(26)) / 3;
    expect(probability).toBeCloseTo(Math.min(1, attention(position) / mean), 6);
  }
  for (const [row, entries] of after.entries())
    for (const [position, { value }] of entries) {
      const own = before[row]!.get(position)!.value;
      const shared = (c: number) =>
        position >= 24 && position <= 26
          ? [20, 22].reduce((sum, p) => sum + before[row]!.get(p)!.value[c]! / 3, 0)
          : 0;
      value.forEach((got, c) => {
        expect(Math.abs(got - own[c]! - shared(c))).toBeLessThan(1e-5);
      });
    }
});

it("draws the same for the same seed, and another way for another", async () => {
  const valuesBy = async (seed: number) => {
    const made = start();
    await compressOnce(made, cam({ seed, interval: 10, mergeBudget: 3 }), { tokens: 30 }, "decode");
    return rowsOf(made).map((row) => [...row.values()].map(({ value }) => value));
  };
  expect(await valuesBy(1)).toEqual(await valuesBy(1));
  expect(await valuesBy(1)).not.toEqual(await valuesBy(2));
});

it("compresses while decoding only, and says what it needs", () => {
  const policy = cam();
  expect(policy.trigger).toEqual({ prefill: false, interval: 512, pressure: false });
  expect(policy.scorer.needs).toEqual([
    { kind: "attentionSums", power: 1, phase: "decode", buffer: 0 },
  ]);
  expect(() => cam({ mergeBudget: 0 })).toThrow("neighbours must be a whole number");
});
