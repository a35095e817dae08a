import {
  type HeadProfile,
  headProfile,
  KvCacheError,
  type KvShape,
  type Observer,
  type Scorer,
} from "@kvcache/core";
import { needleAttention } from "@kvcache/kernels";
import { type CollectorState, restoreInto } from "./collector-state.ts";
import { position } from "./position.ts";

/** A question whose answer stands at one place of the prompt. */
export interface NeedleSample {
  /** Positions of the text that answers. */
  readonly needle: { readonly from: number; readonly to: number };
  /** Tokens of the prompt; what is generated behind them is observed. */
  readonly promptLength: number;
}

export interface RetrievalCollector {
  /** Observes every sequence of a policy that has it; its scores are positions. */
  readonly scorer: Scorer;
  /** Begins a sample; generate its answer under the scorer, with a full cache. */
  begin(sample: NeedleSample): void;
  /** Ends it; it counts where the answer was right (the authors: an F1 above 0.5). */
  end(right: boolean): void;
  /** The profile of all samples that count. Throws `invalid-argument` when none does. */
  profile(model: HeadProfile["model"]): HeadProfile;
  /** Samples that count so far. */
  readonly counted: number;
  state(): CollectorState;
  /** Goes on from what an earlier run gathered. */
  restore(state: CollectorState): void;
}

/**
 * Measures which query heads retrieve while a model answers: how much of what they attend to most is
 * the needle. Fu et al. 2024, arXiv:2410.19258.
 */
export function retrievalCollector(shape: KvShape): RetrievalCollector {
  const { numLayers, numQueryHeads, numKvHeads } = shape;
  const scores = new Float64Array(numLayers * numQueryHeads);
  let counted = 0;
  let running: { readonly sample: NeedleSample; readonly scores: Float64Array } | undefined;
  const observer: Observer = {
    observe(encoder, { start, tokenIds, queries }, batch) {
      if (!running || start < running.sample.promptLength) return;
      const { needle } = running.sample;
      const count = tokenIds.length;
      encoder.run(needleAttention, {
        batch,
        queries,
        start,
        count,
        needle,
        scores: running.scores,
      });
    },
    truncate() {},
    fork: () => observer,
  };
  return {
    scorer: Object.freeze<Scorer>({
      ...position(),
      name: "retrieval-collector",
      needs: [{ kind: "chunkQueries" }],
      createObserver: () => observer,
    }),
    begin(sample) {
      const { from, to } = sample.needle;
      if (!(from >= 0 && from < to && to <= sample.promptLength))
        throw new KvCacheError("invalid-argument", `No needle stands at ${from} to ${to}.`, {
          value: sample,
        });
      running = { sample, scores: new Float64Array(scores.length) };
    },
    end(right) {
      if (running && right) {
        counted++;
        running.scores.forEach((score, head) => {
          scores[head]! += score;
        });
      }
      running = undefined;
    },
    get counted() {
      return counted;
    },
    state: () => ({ scores: scores.slice(), counted: Float64Array.of(counted) }),
    restore(state) {
      restoreInto(scores, state, "scores");
      counted = state.counted?.[0] ?? 0;
    },
    profile(model) {
      if (counted === 0)
        throw new KvCacheError("invalid-argument", "No sample was answered right.", {
          remedy: "Use questions that the model can answer with a full cache.",
        });
      return headProfile({
        kind: "head-kv",
        model,
        shape: { numLayers, numQueryHeads, numKvHeads },
        settings: { samples: counted },
        arrays: {
          headScores: {
            shape: [numLayers, numQueryHeads],
            values: Array.from(scores, (score) => score / counted),
          },
        },
      });
    },
  };
}
