import {
  definePolicy,
  hostArray,
  type KvBatch,
  KvCacheError,
  type Observer,
  ropeTable,
  type Scorer,
  type Signal,
  sum,
} from "@kvcache/core";
import { forEachRow, recordTopK, rope, slotOf, uniformCounts } from "@kvcache/kernels";
import { expect, it } from "vitest";
import { testPolicy, testScorer, tokenCache } from "./index.ts";
import { feedOptions } from "./signal-flags.ts";

const needs: readonly Signal[] = [
  { kind: "chunkQueries" },
  { kind: "queryStatistics", skip: 0 },
  { kind: "hidden" },
  { kind: "headOutputs" },
  {
    kind: "replay",
    passes: ({ tokenIds, tokenize }) => [
      { tokenIds: Int32Array.of(...tokenize("Again: "), ...tokenIds), start: 0, end: 9 },
    ],
  },
];

interface Seen extends Observer {
  /** By layer and position. */
  readonly numbers: Map<string, number>;
}

/** Keeps one number of everything that an observation shows, per layer and position. */
function observer(numLayers: number, numbers = new Map<string, number>()): Seen {
  return {
    numbers,
    observe(_encoder, seen, batch) {
      expect(seen.start + seen.tokenIds.length).toBe(batch.nextPositions[0]);
      const count = seen.tokenIds.length;
      for (let layer = 0; layer < numLayers; layer++) {
        const parts = [
          seen.queries(layer),
          seen.queriesPreRope(layer),
          seen.hidden(layer),
          seen.headOutputs(layer),
          seen.residual(layer),
          seen.attentionOutput(layer),
        ];
        for (let i = 0; i < count; i++) {
          const total = parts.reduce((all, part) => all + part[(i * part.length) / count]!, 0);
          numbers.set(`${layer}/${seen.start + i}`, total);
        }
      }
    },
    replay(_encoder, { start, end, cached }, seen, batch) {
      expect(seen.start).toBeGreaterThanOrEqual(cached);
      forEachRow(batch, ({ view, layer }) => {
        for (let j = 0; j < view.length; j++) {
          const position = view.arena.positions[slotOf(view, j)]!;
          if (position < start || position >= Math.min(end, cached)) continue;
          const name = `${layer}/${position}`;
          numbers.set(name, numbers.get(name)! + seen.queries(layer)[0]!);
        }
      });
    },
    truncate(position) {
      for (const name of numbers.keys())
        if (Number(name.split("/")[1]) >= position) numbers.delete(name);
    },
    fork: () => observer(numLayers, new Map(numbers)),
  };
}

const observing = (): Scorer => ({
  name: "observing",
  needs,
  createObserver: ({ shape }) => observer(shape.numLayers),
  score(_encoder, batch, out) {
    const scores = hostArray(out, "f32");
    forEachRow(batch, ({ view, begin, layer, sequenceIndex }) => {
      const { numbers } = batch.observers![sequenceIndex] as Seen;
      for (let j = 0; j < view.length; j++)
        scores[begin + j] = numbers.get(`${layer}/${view.arena.positions[slotOf(view, j)]}`)!;
    });
  },
});

testScorer("that observes everything", observing);
testPolicy("that observes everything", () =>
  definePolicy({
    name: "observing",
    paper: "none",
    scorer: observing(),
    budget: {
      name: "uniform",
      needs: [],
      resolve: ({ lengths }) => sum(lengths),
      allocate: (encoder, { batch, target, scores }, counts) =>
        encoder.run(uniformCounts, { batch, target, scores, keepProtected: true, counts }),
    },
    selector: {
      name: "top-k",
      select: (encoder, batch, scores, counts) => recordTopK(encoder, batch, scores, counts),
    },
    trigger: { prefill: true, interval: 2, pressure: false },
    protect: { sinks: 1, recent: 2 },
    queryAware: false,
    options: {},
  }),
);

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 8 };

it("shows queries before RoPE that rotate to those after", () => {
  let seen: KvBatch | undefined;
  const scorer: Scorer = {
    ...observing(),
    createObserver: () => ({
      observe(_encoder, observation, batch) {
        seen = batch;
        const positions = Int32Array.from(observation.tokenIds, (_, i) => observation.start + i);
        const numTokens = positions.length;
        const parameters = batch.model!.rope(1)!;
        const [cos, sin] = [0, 1].map(() => new Float32Array((numTokens * parameters.dim) / 2));
        ropeTable(parameters, positions, positions, cos!, sin!);
        const out = observation.queriesPreRope(1).slice();
        rope.reference({ input: out, out, cos: cos!, sin: sin!, numTokens, numHeads: 4 });
        observation.queries(1).forEach((value, i) => {
          expect(out[i]).toBeCloseTo(value, 5);
        });
      },
      truncate() {},
      fork: () => observer(2),
    }),
  };
  const made = tokenCache({ shape, seed: 3, sequences: 1, maxTokens: 9, windowSize: 1, scorer });
  made.feed(0, 4, feedOptions(needs, "prefill"));
  made.feed(0, 5, feedOptions(needs, "prefill"));
  expect(seen?.nextPositions).toEqual([9]);
});

it("shows nothing that nobody asked for", () => {
  const scorer: Scorer = {
    ...observing(),
    needs: [{ kind: "hidden" }],
    createObserver: () => ({
      observe(_encoder, observation) {
        expect(observation.hidden(0).length).toBe(3 * 35);
        observation.queries(0);
      },
      truncate() {},
      fork: () => observer(2),
    }),
  };
  const made = tokenCache({ shape, seed: 3, sequences: 1, maxTokens: 9, windowSize: 1, scorer });
  const error = (() => {
    try {
      made.feed(0, 3, { flags: 0 });
    } catch (caught) {
      return caught;
    }
    return undefined;
  })();
  expect(error).toBeInstanceOf(KvCacheError);
  expect(error).toMatchObject({ code: "missing-signal", value: "queries" });
});
