import { hostArray, hostTensor, type Selector } from "@kvcache/core";
import { createHostEncoder } from "@kvcache/kernels";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { randomInteger, randomNumbers } from "./random.ts";
import { scoreTable } from "./score-table.ts";

export interface TestSelectorOptions {
  /** It keeps the highest scores, and of equal ones those in lower (or higher) slots. */
  readonly ties?: "lower-slot" | "higher-slot";
}

const cases = fc.record({
  seed: fc.integer(),
  sequences: fc.integer({ min: 1, max: 2 }),
  layers: fc.integer({ min: 1, max: 3 }),
  heads: fc.integer({ min: 1, max: 3 }),
  maxLength: fc.integer({ min: 1, max: 40 }),
  protect: fc.record({ sinks: fc.nat(3), recent: fc.nat(3) }),
  levels: fc.constantFrom(2, 5, 1000),
});

/** Registers the battery of a selector: exactly the counts, ascending, within the row. */
export function testSelector(
  name: string,
  make: () => Selector,
  { ties }: TestSelectorOptions = {},
): void {
  describe(`selector ${name}`, () => {
    it("keeps exactly as many slots of a row as were asked for, ascending", async () => {
      await fc.assert(
        fc.asyncProperty(cases, async (shape) => {
          const { lengths, rows, counts } = await select(make(), shape);
          rows.forEach((slots, row) => {
            expect(slots.length).toBe(counts[row]);
            slots.forEach((slot, i) => {
              expect(slot).toBeLessThan(lengths[row]!);
              if (i > 0) expect(slot).toBeGreaterThan(slots[i - 1]!);
            });
          });
        }),
      );
    });

    if (ties)
      it(`keeps the highest scores, of equal ones the ${ties}`, async () => {
        await fc.assert(
          fc.asyncProperty(cases, async (shape) => {
            const { rows, counts, rowScores } = await select(make(), shape);
            const sign = ties === "lower-slot" ? 1 : -1;
            rows.forEach((slots, row) => {
              const scores = rowScores[row]!;
              const order = Array.from(scores, (_, slot) => slot).sort((a, b) =>
                scores[a] === scores[b] ? sign * (a - b) : scores[a]! > scores[b]! ? -1 : 1,
              );
              const best = order.slice(0, counts[row]).sort((a, b) => a - b);
              expect(slots).toEqual(best);
            });
          }),
        );
      });
  });
}

async function select(selector: Selector, shape: Parameters<typeof scoreTable>[0]) {
  const { batch, scores, lengths } = scoreTable(shape);
  const random = randomNumbers(shape.seed + 1);
  const counts = lengths.map((length) => randomInteger(random, 1, length));
  const encoder = createHostEncoder();
  const keep = selector.select(encoder, batch, scores, hostTensor(counts));
  const indptr = (await encoder.read(keep.indptr)) as Uint32Array;
  const indices = (await encoder.read(keep.indices)) as Uint32Array;
  const rowIndptr = hostArray(batch.rowIndptr, "u32");
  return {
    lengths,
    counts,
    rows: Array.from(lengths, (_, row) => [...indices.subarray(indptr[row]!, indptr[row + 1]!)]),
    rowScores: Array.from(lengths, (_, row) =>
      (scores.data as Float32Array).subarray(rowIndptr[row]!, rowIndptr[row + 1]!),
    ),
  };
}
