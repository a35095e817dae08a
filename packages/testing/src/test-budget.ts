import {
  type BudgetAllocator,
  type BudgetTarget,
  type KvShape,
  sequenceTokenBytes,
  sum,
} from "@kvcache/core";
import { createHostEncoder } from "@kvcache/kernels";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ScoreTable, scoreTable } from "./score-table.ts";

export interface TestBudgetOptions {
  /** Every sequence keeps exactly what `resolve` says, in all cases. Default false. */
  readonly exact?: boolean;
  /** Tokens a row may lose to rounding at ratio 1, where nothing has to go. Default 0. */
  readonly drift?: number;
}

const cases = fc.record({
  seed: fc.integer(),
  sequences: fc.integer({ min: 1, max: 3 }),
  layers: fc.integer({ min: 1, max: 4 }),
  heads: fc.integer({ min: 1, max: 3 }),
  maxLength: fc.integer({ min: 1, max: 40 }),
  protect: fc.record({ sinks: fc.nat(3), recent: fc.nat(5) }),
  levels: fc.constantFrom(3, 1000),
});
const amount = fc.double({ min: 0.01, max: 1, noNaN: true });

/**
 * Registers the battery of a budget rule: `make` is called for every case, with the shape of its
 * model.
 */
export function testBudget(
  name: string,
  make: (shape: KvShape) => BudgetAllocator,
  { exact = false, drift = 0 }: TestBudgetOptions = {},
): void {
  describe(`budget ${name}`, () => {
    it("keeps 1 … length tokens of every row, and no more than it promises", async () => {
      await fc.assert(
        fc.asyncProperty(
          cases,
          amount,
          fc.constantFrom("tokens", "ratio", "bytes"),
          async (shape, size, unit) => {
            const table = scoreTable(shape);
            const target = targetOf(table, size, unit as "tokens");
            const counts = await allocate(make(table.batch.shape), table, target);
            counts.forEach((count, row) => {
              expect(count, `row ${row}`).toBeGreaterThanOrEqual(1);
              expect(count, `row ${row}`).toBeLessThanOrEqual(table.lengths[row]!);
            });
            for (const { kept, promised } of totals(
              make(table.batch.shape),
              table,
              target,
              counts,
            )) {
              expect(kept).toBeLessThanOrEqual(promised);
              if (exact) expect(kept).toBe(promised);
            }
          },
        ),
      );
    });

    it("keeps everything at ratio 1", async () => {
      await fc.assert(
        fc.asyncProperty(cases, async (shape) => {
          const table = scoreTable(shape);
          const budget = make(table.batch.shape);
          const counts = await allocate(budget, table, { ratio: 1 });
          const lost = budget.keepsAllAtRatio1 ? 0 : drift;
          counts.forEach((count, row) => {
            expect(count).toBeGreaterThanOrEqual(table.lengths[row]! - lost);
          });
        }),
        { numRuns: 30 },
      );
    });

    it("gives the same counts again, and leaves scores alone", async () => {
      await fc.assert(
        fc.asyncProperty(cases, amount, async (shape, ratio) => {
          const table = scoreTable(shape);
          const before = table.scores.data.slice();
          const counts = await allocate(make(table.batch.shape), table, { ratio });
          expect(await allocate(make(table.batch.shape), table, { ratio })).toEqual(counts);
          expect(table.scores.data).toEqual(before);
        }),
        { numRuns: 30 },
      );
    });

    it("refuses bytes that do not pay for one token a row", () => {
      const { batch, lengths } = scoreTable({
        seed: 1,
        sequences: 1,
        layers: 2,
        heads: 2,
        maxLength: 20,
        protect: { sinks: 0, recent: 0 },
        levels: 10,
      });
      const { layout, protect } = batch;
      const target = { bytes: sequenceTokenBytes(layout) - 1 };
      expect(() =>
        make(batch.shape).resolve({ target, lengths, nextPosition: 20, layout, protect }),
      ).toThrow(/\d/);
    });
  });
}

/** A target of about that part of the longest row, not below what is protected. */
function targetOf(
  { batch }: ScoreTable,
  size: number,
  unit: "tokens" | "ratio" | "bytes",
): BudgetTarget {
  const least = batch.protect.sinks + batch.protect.recent;
  const tokens = Math.max(1, least, Math.round(size * batch.nextPositions[0]!));
  if (unit === "ratio") return { ratio: size };
  if (unit === "tokens") return { tokens };
  // Rounded up to whole blocks, for rules that round down to them.
  return { bytes: Math.ceil(tokens / 4) * 4 * sequenceTokenBytes(batch.layout) + 3 };
}

async function allocate(
  budget: BudgetAllocator,
  { batch, scores }: ScoreTable,
  target: BudgetTarget,
): Promise<Uint32Array> {
  const encoder = createHostEncoder();
  const counts = encoder.tensor("u32", batch.numRows);
  budget.allocate(encoder, { batch, target, scores }, counts);
  return (await encoder.read(counts)) as Uint32Array;
}

/** Tokens kept and promised, per sequence. */
function totals(
  budget: BudgetAllocator,
  { batch, lengths }: ScoreTable,
  target: BudgetTarget,
  counts: Uint32Array,
) {
  const rows = batch.numRows / batch.sequences.length;
  const { layout, protect } = batch;
  return batch.nextPositions.map((nextPosition, sequence) => {
    const own = lengths.subarray(sequence * rows, (sequence + 1) * rows);
    return {
      kept: sum(counts.subarray(sequence * rows, (sequence + 1) * rows)),
      promised: budget.resolve({ target, lengths: own, nextPosition, layout, protect }),
    };
  });
}
