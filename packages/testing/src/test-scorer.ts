import { createReferenceBackend } from "@kvcache/backend-reference";
import type { KvShape, Scorer } from "@kvcache/core";
import { describe, expect, it } from "vitest";
import { permuteRow } from "./permute-rows.ts";
import { randomInteger, randomNumbers, randomOrder } from "./random.ts";
import { feedOptions, hasSignals, windowSizeOf } from "./signal-flags.ts";
import { randomSlots, type TokenCache, tokenCache } from "./token-cache.ts";

export interface TestScorerOptions {
  /** Scores belong to tokens, not to the slots that they stand in. Default true. */
  readonly permutable?: boolean;
}

const shapes: readonly KvShape[] = [
  { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 8 },
  { numLayers: 1, numQueryHeads: 3, numKvHeads: 3, headDim: 4 },
  { numLayers: 3, numQueryHeads: 4, numKvHeads: 1, headDim: 6 },
];
const nothing = { sinks: 0, recent: 0 };

/** Registers the battery of a scorer: `make` is called for every case. */
export function testScorer(
  name: string,
  make: () => Scorer,
  { permutable = true }: TestScorerOptions = {},
): void {
  describe(`scorer ${name}`, () => {
    const { needs } = make();
    if (!hasSignals(needs)) {
      it.skip(`needs ${needs.map(({ kind }) => kind).join(", ")}, which takes a model`, () => {});
      return;
    }
    shapes.forEach((shape, seed) => {
      const title = `${shape.numLayers} layers, ${shape.numQueryHeads} heads on ${shape.numKvHeads}`;

      it(`gives every token a number or +∞, the same each time: ${title}`, async () => {
        const first = await score(make(), await ragged(make(), shape, seed));
        const again = await score(make(), await ragged(make(), shape, seed));
        expect(first).toEqual(again);
        expect(first.length).toBeGreaterThan(0);
        first.forEach((value, slot) => {
          expect(value > Number.NEGATIVE_INFINITY, `slot ${slot}: ${value}`).toBe(true);
        });
      });

      if (permutable)
        it(`follows tokens to other slots: ${title}`, async () => {
          const expected = await score(make(), await ragged(make(), shape, seed));
          const shuffled = await ragged(make(), shape, seed);
          const random = randomNumbers(seed + 99);
          const sources: number[] = [];
          for (const sequence of shuffled.sequences)
            for (let row = 0; row < shape.numLayers * shape.numKvHeads; row++) {
              const order = randomOrder(random, shuffled.positions(sequence, row).length);
              permuteRow(shuffled, sequence, row, order);
              const start = sources.length;
              sources.push(...Array.from(order, (slot) => start + slot));
            }
          const got = await score(make(), shuffled);
          sources.forEach((source, slot) => {
            const wanted = expected[source]!;
            if (wanted === Number.POSITIVE_INFINITY) expect(got[slot]).toBe(wanted);
            else
              expect(Math.abs(got[slot]! - wanted)).toBeLessThan(
                1e-5 * Math.max(1, Math.abs(wanted)),
              );
          });
        });
    });
  });
}

/** Two sequences, fed in two parts with random tokens evicted between. */
async function ragged(scorer: Scorer, shape: KvShape, seed: number): Promise<TokenCache> {
  const windowSize = windowSizeOf(scorer.needs);
  const made = tokenCache({ shape, seed, sequences: 2, maxTokens: windowSize + 60, windowSize });
  const random = randomNumbers(seed + 1);
  for (const sequence of made.sequences) {
    made.feed(sequence, randomInteger(random, 5, 25), feedOptions(scorer.needs, "prefill"));
    await made.keep(sequence, (positions) => randomSlots(random, positions, nothing));
    made.feed(sequence, randomInteger(random, 1, 20), feedOptions(scorer.needs, "decode"));
  }
  return made;
}

async function score(scorer: Scorer, { cache, sequences }: TokenCache): Promise<Float32Array> {
  const encoder = createReferenceBackend().attach(cache).encoder();
  const batch = cache.batch(sequences, { protect: nothing, phase: "prefill" });
  const out = encoder.tensor("f32", batch.totalSlots);
  scorer.score(encoder, batch, out);
  return (await encoder.read(out)) as Float32Array;
}
