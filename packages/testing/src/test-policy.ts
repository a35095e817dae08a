import { createReferenceBackend } from "@kvcache/backend-reference";
import {
  type BudgetTarget,
  type CompressionPhase,
  type EvictionPolicy,
  type KvShape,
  numRows,
  signalsOf,
  sum,
} from "@kvcache/core";
import { recordCompression } from "@kvcache/engine";
import { describe, expect, it } from "vitest";
import { denseAttention } from "./dense-attention.ts";
import { randomInteger, randomNumbers } from "./random.ts";
import { renumber } from "./renumber.ts";
import { feedOptions, windowSizeOf } from "./signal-flags.ts";
import { randomSlots, type TokenCache, tokenCache } from "./token-cache.ts";

export interface TestPolicyOptions {
  /** Targets beside those that every policy is tried with. */
  readonly targets?: readonly BudgetTarget[];
}

const blockSize = 4;
const shapes: readonly KvShape[] = [
  { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 8 },
  { numLayers: 3, numQueryHeads: 3, numKvHeads: 3, headDim: 4 },
];

/**
 * Registers the battery of a policy: `make` is called for every case, with the shape of its model.
 */
export function testPolicy(
  name: string,
  make: (shape: KvShape) => EvictionPolicy,
  { targets = [] }: TestPolicyOptions = {},
): void {
  describe(`policy ${name}`, () => {
    it("says what it is, in JSON", () => {
      const policy = make(shapes[0]!);
      expect(Object.isFrozen(policy)).toBe(true);
      expect(policy.paper.length).toBeGreaterThan(0);
      expect(JSON.parse(JSON.stringify(policy.options))).toEqual(policy.options);
      expect(make(shapes[0]!).options).toEqual(policy.options);
    });

    const { sinks, recent } = make(shapes[0]!).protect;
    const all = [{ ratio: 0.25 }, { ratio: 0.7 }, { tokens: sinks + recent + 6 }, ...targets];
    for (const target of all)
      shapes.forEach((shape, seed) => {
        const title = `${JSON.stringify(target)}, ${shape.numQueryHeads} heads on ${shape.numKvHeads}`;

        it(`keeps what it promised, gives the rest back: ${title}`, async () => {
          const run = await prefilled(make(shape), shape, seed);
          await event(run, target, "prefill");
          attends(run);
          if (run.policy.trigger.interval === undefined) return;
          decode(run, 3);
          await event(run, target, "decode");
          attends(run);
        });

        it(`decides the same again: ${title}`, async () => {
          const kept = await Promise.all(
            [0, 1].map(async () => {
              const run = await prefilled(make(shape), shape, seed);
              await event(run, target, "prefill");
              return rowsOf(run);
            }),
          );
          expect(kept[0]).toEqual(kept[1]);
        });
      });
  });
}

interface Run extends TokenCache {
  readonly policy: EvictionPolicy;
  readonly shape: KvShape;
}

/** Two sequences of different length whose rows are ragged already, as after earlier turns. */
async function prefilled(policy: EvictionPolicy, shape: KvShape, seed: number): Promise<Run> {
  const signals = signalsOf(policy);
  const { sinks, recent } = policy.protect;
  const random = randomNumbers(seed + 1);
  const lengths = [0, 1].map(() => sinks + recent + randomInteger(random, 20, 45));
  const made = tokenCache({
    shape,
    seed,
    sequences: 2,
    maxTokens: Math.max(...lengths) + 20,
    blockSize,
    windowSize: windowSizeOf(signals),
    scorer: policy.scorer,
    signals,
    protect: policy.protect,
  });
  const options = feedOptions(signals, "prefill");
  for (const sequence of made.sequences) {
    const first = randomInteger(random, 1, lengths[sequence]! - 1);
    made.feed(sequence, first, options);
    await made.keep(sequence, (positions) => randomSlots(random, positions, policy.protect));
    made.feed(sequence, lengths[sequence]! - first, options);
  }
  return { ...made, policy, shape };
}

/** One compression event and everything that must hold of it. */
async function event(run: Run, target: BudgetTarget, phase: CompressionPhase): Promise<void> {
  const { cache, sequences, policy, shape } = run;
  const { protect } = policy;
  const before = rowsOf(run);
  const promised = sequences.map((sequence) => {
    const { lengths, nextPosition } = cache.sequenceStats(sequence);
    const { layout } = cache;
    return policy.budget.resolve({ target, lengths, nextPosition, layout, protect });
  });

  const encoder = createReferenceBackend().attach(cache).encoder();
  run.replay();
  const batch = run.batch(phase);
  const recorded = recordCompression(encoder, batch, policy, target);
  const counts = await encoder.read(recorded.counts);
  const indptr = await encoder.read(recorded.keep.indptr);
  const indices = await encoder.read(recorded.keep.indices);
  const kept = before.map((positions, row) => {
    const slots = indices.subarray(indptr[row]!, indptr[row + 1]!);
    expect(slots.length, `row ${row}`).toBe(counts[row]);
    expect(slots.length).toBeGreaterThanOrEqual(1);
    expect(slots.length).toBeLessThanOrEqual(positions.length);
    return Array.from(slots, (slot) => positions[slot]!).sort((a, b) => a - b);
  });
  const rows = numRows(shape);
  before.forEach((positions, row) => {
    const next = batch.nextPositions[Math.floor(row / rows)]!;
    for (const position of positions)
      if (position < protect.sinks || position >= next - protect.recent)
        expect(kept[row], `protected position ${position} of row ${row}`).toContain(position);
  });

  await cache.compact(encoder, batch, recorded.keep);
  const moved = policy.transform?.nextPosition !== undefined;
  expect(rowsOf(run).map((positions) => [...positions].sort((a, b) => a - b))).toEqual(
    moved ? kept.map((positions) => positions.map((_, place) => place)) : kept,
  );
  renumber(run, policy);
  sequences.forEach((sequence, i) => {
    const { lengths, blocks } = cache.sequenceStats(sequence);
    expect(sum(lengths)).toBeLessThanOrEqual(promised[i]!);
    expect(blocks * blockSize).toBeLessThanOrEqual(promised[i]! + rows * blockSize);
  });
}

/** Decodes a token of each sequence: attention is that over the kept positions, and no others. */
function attends(run: Run): void {
  const { shape, sequences, tokens, policy } = run;
  // A policy that moves positions has other keys than the tokens were made with.
  if (policy.transform) return;
  const { numKvHeads } = shape;
  for (const sequence of sequences) {
    const position = run.cache.sequenceStats(sequence).nextPosition;
    const kept = Array.from({ length: numRows(shape) }, (_, row) => run.positions(sequence, row));
    const outputs = decode(run, 1, sequence);
    outputs.forEach((out, layer) => {
      const expected = denseAttention(shape, tokens, { sequence, layer, position }, (head) => [
        ...kept[layer * numKvHeads + head]!,
        position,
      ]);
      expected.forEach((value, i) => {
        expect(Math.abs(out[i]! - value), `layer ${layer}, value ${i}`).toBeLessThan(1e-5);
      });
    });
  }
}

function decode(run: Run, count: number, sequence?: number): Float32Array[] {
  const options = feedOptions(signalsOf(run.policy), "decode");
  const chosen = sequence === undefined ? run.sequences : [sequence];
  return chosen.flatMap((slot) => {
    let outputs: Float32Array[] = [];
    for (let i = 0; i < count; i++) outputs = run.feed(slot, 1, options);
    return outputs;
  });
}

/** Positions of every row of every sequence, in slot order. */
const rowsOf = (run: Run): number[][] =>
  run.sequences.flatMap((sequence) =>
    Array.from({ length: numRows(run.shape) }, (_, row) => [...run.positions(sequence, row)]),
  );
