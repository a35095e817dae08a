import { createReferenceBackend } from "@kvcache/backend-reference";
import type { KvShape, Scorer } from "@kvcache/core";
import { describe, expect, it } from "vitest";
import { permuteRow } from "./permute-rows.ts";
import { randomInteger, randomNumbers, randomOrder } from "./random.ts";
import { feedOptions, windowSizeOf } from "./signal-flags.ts";
import { randomSlots, type TokenCache, tokenCache } from "./token-cache.ts";

export interface TestScorerOptions {
  /** Scores belong to tokens, not to the slots that they stand in. Default true. */
  readonly permutable?: boolean;
  /** Its observers forget positions exactly, as if they had never seen them. Default true. */
  readonly forgets?: boolean;
}

const shapes: readonly KvShape[] = [
  { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 8 },
  { numLayers: 1, numQueryHeads: 3, numKvHeads: 3, headDim: 4 },
  { numLayers: 3, numQueryHeads: 4, numKvHeads: 1, headDim: 6 },
];
const nothing = { sinks: 0, recent: 0 };
/** Tokens that are fed and taken back, and what they leave in side buffers: nothing. */
const excursion = 7;
const unseen = { flags: 0 };

/**
 * Registers the battery of a scorer: `make` is called for every case, with the shape of its model.
 */
export function testScorer(
  name: string,
  make: (shape: KvShape) => Scorer,
  { permutable = true, forgets = true }: TestScorerOptions = {},
): void {
  describe(`scorer ${name}`, () => {
    shapes.forEach((shape, seed) => {
      const title = `${shape.numLayers} layers, ${shape.numQueryHeads} heads on ${shape.numKvHeads}`;

      it(`gives every token a number or +∞, the same each time: ${title}`, async () => {
        const first = await score(make(shape), await ragged(make(shape), shape, seed));
        const again = await score(make(shape), await ragged(make(shape), shape, seed));
        expect(first).toEqual(again);
        expect(first.length).toBeGreaterThan(0);
        first.forEach((value, slot) => {
          expect(value > Number.NEGATIVE_INFINITY, `slot ${slot}: ${value}`).toBe(true);
        });
      });

      if (permutable)
        it(`follows tokens to other slots: ${title}`, async () => {
          const expected = await score(make(shape), await ragged(make(shape), shape, seed));
          const shuffled = await ragged(make(shape), shape, seed);
          const random = randomNumbers(seed + 99);
          const sources: number[] = [];
          for (const sequence of shuffled.sequences)
            for (let row = 0; row < shape.numLayers * shape.numKvHeads; row++) {
              const order = randomOrder(random, shuffled.positions(sequence, row).length);
              permuteRow(shuffled, sequence, row, order);
              const start = sources.length;
              sources.push(...Array.from(order, (slot) => start + slot));
            }
          const got = await score(make(shape), shuffled);
          expectScores(
            got,
            sources.map((source) => expected[source]!),
          );
        });

      if (!make(shape).createObserver) return;

      it(`a fork observes on its own: ${title}`, async () => {
        const expected = await score(make(shape), await ragged(make(shape), shape, seed));
        const forked = await ragged(make(shape), shape, seed);
        const [parent, other] = forked.sequences;
        const child = forked.fork(parent!);
        forked.feed(parent!, excursion, unseen);
        expectScores(await score(make(shape), forked, [child, other!]), expected);
      });

      if (forgets)
        it(`its observer forgets what is cut off: ${title}`, async () => {
          const expected = await score(make(shape), await ragged(make(shape), shape, seed));
          const cut = await ragged(make(shape), shape, seed);
          for (const sequence of cut.sequences) {
            const end = cut.cache.host.nextPositions[sequence]!;
            cut.feed(sequence, excursion, unseen);
            cut.truncate(sequence, end);
          }
          expectScores(await score(make(shape), cut), expected);
        });
    });
  });
}

/** Two sequences, fed in two parts with random tokens evicted between. */
async function ragged(scorer: Scorer, shape: KvShape, seed: number): Promise<TokenCache> {
  const windowSize = windowSizeOf(scorer.needs);
  const made = tokenCache({
    shape,
    seed,
    sequences: 2,
    maxTokens: windowSize + 60 + excursion,
    // So that an excursion overwrites no query that scores depend on.
    windowSize: windowSize + excursion,
    scorer,
  });
  const random = randomNumbers(seed + 1);
  for (const sequence of made.sequences) {
    made.feed(sequence, randomInteger(random, 5, 25), feedOptions(scorer.needs, "prefill"));
    await made.keep(sequence, (positions) => randomSlots(random, positions, nothing));
    made.feed(sequence, randomInteger(random, 1, 20), feedOptions(scorer.needs, "decode"));
  }
  made.replay();
  return made;
}

async function score(
  scorer: Scorer,
  made: TokenCache,
  sequences = made.sequences,
): Promise<Float32Array> {
  const encoder = createReferenceBackend().attach(made.cache).encoder();
  const batch = made.batch("prefill", sequences);
  const out = encoder.tensor("f32", batch.totalSlots);
  scorer.score(encoder, batch, out);
  return (await encoder.read(out)) as Float32Array;
}

function expectScores(got: Float32Array, expected: ArrayLike<number>): void {
  expect(got.length).toBe(expected.length);
  got.forEach((value, slot) => {
    const wanted = expected[slot]!;
    if (wanted === Number.POSITIVE_INFINITY) expect(value).toBe(wanted);
    else
      expect(Math.abs(value - wanted), `slot ${slot}`).toBeLessThan(
        1e-5 * Math.max(1, Math.abs(wanted)),
      );
  });
}
