import { gatherKeys, gatherPositions, gatherValues, rowView } from "@kvcache/kernels";
import { compressOnce, type TokenCache, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { merging } from "./index.ts";

testPolicy("merging", () => merging());
testPolicy("merging, some", () => merging({ threshold: 0.2, fraction: 0.5 }));

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 4 };
const n = 45;
const start = () => {
  const made = tokenCache({ shape, seed: 12, sequences: 1, maxTokens: n, windowSize: 0 });
  made.feed(0, n, { flags: 0 });
  return made;
};
/** Keys or values of a row by position. */
function entriesOf({ cache }: TokenCache, row: number, side: "key" | "value") {
  const view = rowView(cache.host, 0, row >> 1, row & 1);
  const flat = side === "key" ? gatherKeys(view) : gatherValues(view);
  return new Map(
    Array.from(gatherPositions(view), (position, slot) => [
      position,
      [...flat.subarray(slot * 4, slot * 4 + 4)],
    ]),
  );
}
const dot = (a: readonly number[], b: readonly number[]) =>
  a.reduce((sum, x, i) => sum + x * b[i]!, 0);
const norm = (a: readonly number[]) => Math.sqrt(dot(a, a));

it.each([
  [0, 1],
  [0.6, 1],
  [0, 0.5],
  [0.7, 0.4],
])(
  "folds evicted values into the nearest keys (threshold %f, fraction %f)",
  async (threshold, fraction) => {
    const made = start();
    const before = [0, 1, 2, 3].map((row) => ({
      keys: entriesOf(made, row, "key"),
      values: entriesOf(made, row, "value"),
    }));
    const { kept } = await compressOnce(made, merging({ threshold, fraction }), { ratio: 0.4 });
    kept.forEach((positions, row) => {
      const { keys, values } = before[row]!;
      const evicted = [...keys.keys()].filter((position) => !positions.includes(position));
      const links = evicted.map((from) => {
        const cosine = (to: number) =>
          dot(keys.get(from)!, keys.get(to)!) / norm(keys.get(from)!) / norm(keys.get(to)!);
        const to = positions.reduce((best, p) => (cosine(p) > cosine(best) ? p : best));
        return { from, to, cosine: cosine(to) };
      });
      // The quantile of those that pass, the others below all of them.
      const ranked = links.map(({ cosine }) => (cosine >= threshold ? cosine : -Infinity));
      ranked.sort((a, b) => a - b);
      const rank = (1 - fraction) * (ranked.length - 1);
      const [below, above] = [ranked[Math.floor(rank)]!, ranked[Math.ceil(rank)]!];
      const least =
        below === -Infinity ? below : below + (above - below) * (rank - Math.floor(rank));
      const merged = entriesOf(made, row, "value");
      for (const position of positions) {
        const own = values.get(position)!;
        let sum = [...own];
        let weights = 0;
        for (const { from, to, cosine } of links) {
          if (to !== position || cosine < threshold || cosine < least) continue;
          const value = values.get(from)!;
          const weight = (Math.max(0, cosine) * norm(value)) / (norm(value) + norm(own) + 1e-6);
          sum = sum.map((x, c) => x + weight * value[c]!);
          weights += weight;
        }
        sum.forEach((x, c) => {
          expect(Math.abs(merged.get(position)![c]! - x / (1 + weights))).toBeLessThan(1e-5);
        });
        expect(entriesOf(made, row, "key").get(position)).toEqual(keys.get(position));
      }
    });
  },
);

it("evicts only, where no two keys are alike", async () => {
  const made = start();
  const before = [0, 1, 2, 3].map((row) => entriesOf(made, row, "value"));
  const { kept } = await compressOnce(made, merging({ threshold: 1 }), { ratio: 0.4 });
  kept.forEach((positions, row) => {
    const after = entriesOf(made, row, "value");
    for (const position of positions)
      expect(after.get(position)).toEqual(before[row]!.get(position));
  });
});

it("refuses options out of range and policies that change entries themselves", () => {
  expect(() => merging({ threshold: 2 })).toThrow("threshold must be in [0, 1]");
  expect(() => merging({ fraction: 0 })).toThrow("fraction must be above 0");
  expect(() => merging({ policy: merging() })).toThrow("changes what it keeps itself");
});
