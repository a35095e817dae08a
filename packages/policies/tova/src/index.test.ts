import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { tova } from "./index.ts";

testPolicy("tova", () => tova());
testPolicy("tova, authors", () => tova({ variant: "authors", interval: 1 }));

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 6 };
const n = 24;
const prefilled = () => {
  const made = tokenCache({ shape, seed: 8, sequences: 1, maxTokens: n + 9, windowSize: 1 });
  made.feed(0, n, { flags: 1 });
  return made;
};

/** The last query's attention, averaged over the layer's query heads. */
function lastRow({ tokens }: ReturnType<typeof prefilled>, layer: number): number[] {
  const mean = new Array<number>(n).fill(0);
  for (let head = 0; head < 4; head++) {
    const query = tokens(0, layer, n - 1).query.subarray(head * 6, head * 6 + 6);
    const weights = mean.map((_, j) => {
      const key = tokens(0, layer, j).key.subarray((head >> 1) * 6, (head >> 1) * 6 + 6);
      return Math.exp(query.reduce((dot, q, c) => dot + q * key[c]!, 0) / Math.sqrt(6));
    });
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    weights.forEach((weight, j) => {
      mean[j]! += weight / total / 4;
    });
  }
  return mean;
}

it("evicts exactly what the last token attends to least, in all heads alike", async () => {
  const made = prefilled();
  const policy = tova({ variant: "authors" });
  const { scores, kept } = await compressOnce(made, policy, { tokens: n - 1 });
  for (let layer = 0; layer < 2; layer++) {
    const row = lastRow(made, layer);
    const least = row.indexOf(Math.min(...row));
    row.forEach((weight, j) => {
      expect(Math.abs(scores[2 * layer]![j]! - weight)).toBeLessThan(1e-6);
    });
    expect(kept[2 * layer]).toEqual([...row.keys()].filter((j) => j !== least));
    expect(kept[2 * layer + 1]).toEqual(kept[2 * layer]);
  }
});

it("never evicts the last token, as kvpress", async () => {
  const { kept } = await compressOnce(prefilled(), tova(), { tokens: 1 });
  expect(kept).toEqual([[n - 1], [n - 1], [n - 1], [n - 1]]);
});
