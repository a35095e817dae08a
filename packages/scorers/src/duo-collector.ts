import {
  checkWholeNumber,
  type HeadProfile,
  headProfile,
  KvCacheError,
  type KvShape,
  type ModelView,
  type Observer,
  type Scorer,
} from "@kvcache/core";
import { duoHeadScores, keySums } from "@kvcache/kernels";
import { type CollectorState, restoreInto } from "./collector-state.ts";
import { position } from "./position.ts";

export interface DuoCollector {
  /** Observes every sequence of a policy that has it, one sample each; its scores are positions. */
  readonly scorer: Scorer;
  /** The profile of everything seen so far. Throws `invalid-argument` when nothing was. */
  profile(model: HeadProfile["model"]): HeadProfile;
  state(): CollectorState;
  /** Goes on from what an earlier run gathered. */
  restore(state: CollectorState): void;
}

export interface DuoCollectorOptions {
  /** Distances that mean queries and keys are compared at. Default 500. */
  readonly positions?: number;
  /** Of the model; else that of the texts, so that at least one must be observed. */
  readonly view?: ModelView;
}

interface Sample {
  readonly queries: Float64Array;
  readonly keys: Float64Array;
  tokens: number;
}

/**
 * Measures how far back the heads of a model look, from the mean query and mean key of each text: run
 * calibration texts through an engine under its scorer, with a full cache. kvpress 0.5.5,
 * DuoAttention on the fly, which takes 50 texts.
 */
export function duoCollector(
  shape: KvShape,
  { positions = 500, view: given }: DuoCollectorOptions = {},
): DuoCollector {
  checkWholeNumber("positions", positions, 1);
  const { numLayers, numQueryHeads, numKvHeads, headDim } = shape;
  const samples: Sample[] = [];
  let view = given;

  const emptySample = (): Sample => ({
    queries: new Float64Array(numLayers * numQueryHeads * headDim),
    keys: new Float64Array(numLayers * numKvHeads * headDim),
    tokens: 0,
  });

  function observer(): Observer {
    const sample = emptySample();
    const own: Observer = {
      observe(encoder, { start, tokenIds, queriesPreRope }, batch) {
        if (sample.tokens === 0) samples.push(sample);
        view = batch.model;
        sample.tokens += tokenIds.length;
        encoder.run(keySums, { batch, from: start, sums: sample.keys });
        const width = numQueryHeads * headDim;
        for (let layer = 0; layer < numLayers; layer++)
          queriesPreRope(layer).forEach((value, i) => {
            sample.queries[layer * width + (i % width)]! += value;
          });
      },
      truncate() {},
      fork: () => own,
    };
    return own;
  }

  /** Sums of a layer, divided by the tokens of each sample: [samples, heads × headDim]. */
  const means = (side: "queries" | "keys", layer: number, width: number) =>
    Float32Array.from(
      samples.flatMap(({ tokens, ...sums }) =>
        Array.from(sums[side].subarray(layer * width, (layer + 1) * width), (sum) => sum / tokens),
      ),
    );

  return {
    scorer: Object.freeze<Scorer>({
      ...position(),
      name: "duo-collector",
      needs: [{ kind: "queryStatistics", skip: 0 }],
      createObserver: observer,
    }),
    state: () =>
      Object.fromEntries(
        samples.flatMap(({ queries, keys, tokens }, i) => [
          [`queries.${i}`, queries.slice()],
          [`keys.${i}`, keys.slice()],
          [`tokens.${i}`, Float64Array.of(tokens)],
        ]),
      ),
    restore(state) {
      samples.length = 0;
      for (let i = 0; state[`tokens.${i}`]; i++) {
        const sample = emptySample();
        restoreInto(sample.queries, state, `queries.${i}`);
        restoreInto(sample.keys, state, `keys.${i}`);
        samples.push({ ...sample, tokens: state[`tokens.${i}`]![0]! });
      }
    },
    profile(model) {
      if (samples.length === 0)
        throw new KvCacheError("invalid-argument", "No text was observed.", {
          remedy: "Run calibration texts under the collector's scorer first.",
        });
      const values = Array.from({ length: numLayers }, (_, layer) => [
        ...duoHeadScores({
          shape,
          rope: view?.rope(layer),
          positions,
          meanQueries: means("queries", layer, numQueryHeads * headDim),
          meanKeys: means("keys", layer, numKvHeads * headDim),
        }),
      ]);
      return headProfile({
        kind: "duo-attention",
        model,
        shape: { numLayers, numQueryHeads, numKvHeads },
        settings: { onTheFly: true, positions, samples: samples.length },
        arrays: { headScores: { shape: [numLayers, numKvHeads], values: values.flat() } },
      });
    },
  };
}
