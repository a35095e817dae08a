import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { randomFloats, randomNumbers, testBatch, testCache } from "../../src/test-cache.ts";
import { keyLeverage } from "./key-leverage.ts";

const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 2, headDim: 3 };
const tokens = 14;
const ends = { sinks: 2, recent: 1 };
const model = { hiddenSize: 1, rope: () => undefined, outputWeight: () => new Float32Array(0) };

/** Leverage through an orthonormal basis of the columns (Gram and Schmidt), not through XᵀX. */
function leverages(rows: readonly (readonly number[])[]): number[] {
  const mean = [0, 1, 2].map((c) => rows.reduce((sum, row) => sum + row[c]!, 0) / rows.length);
  const basis: number[][] = [];
  for (const c of [0, 1, 2]) {
    let column = rows.map((row) => row[c]! - mean[c]!);
    for (const known of basis) {
      const dot = known.reduce((sum, x, i) => sum + x * column[i]!, 0);
      column = column.map((x, i) => x - dot * known[i]!);
    }
    const length = Math.hypot(...column);
    basis.push(column.map((x) => x / length));
  }
  return rows.map((_, i) => basis.reduce((sum, column) => sum + column[i]! ** 2, 0));
}

it("is the leverage of centred keys under an identity sketch, standardised over the layer", () => {
  const { cache, append, writeKeys } = testCache(shape);
  append(0, tokens);
  const keys = [7, 8].map((seed) => randomFloats(randomNumbers(seed), tokens * 3));
  keys.forEach((own, head) => {
    writeKeys(0, 0, head, own);
  });
  const batch = { ...testBatch(cache, [0]), model };
  const out = hostTensor(new Float32Array(batch.totalSlots));
  const sketchOf = () => Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1);
  keyLeverage.reference({ batch, out, sketch: 3, sketchOf, ridge: 1e-9, ends });

  const inside = Array.from({ length: tokens - 3 }, (_, i) => i + 2);
  const raw = keys.flatMap((own) =>
    leverages(inside.map((j) => [...own.subarray(j * 3, j * 3 + 3)])),
  );
  expect(raw.reduce((sum, x) => sum + x, 0)).toBeCloseTo(6, 6);
  const mean = 6 / raw.length;
  const deviation = Math.sqrt(raw.reduce((s, x) => s + (x - mean) ** 2, 0) / (raw.length - 1));
  const got = [0, 1].flatMap((head) => inside.map((j) => out.data[head * tokens + j]!));
  raw.forEach((x, i) => {
    expect(got[i]).toBeCloseTo((x - mean) / deviation, 4);
  });
  for (const slot of [0, 1, 13, 14, 15, 27]) expect(out.data[slot]).toBe(Infinity);
});
