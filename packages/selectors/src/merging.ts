import { checkFraction, checkWholeNumber, KvCacheError, type Transform } from "@kvcache/core";
import {
  headMeans,
  type MergeCandidate,
  mergeForward,
  mergeValues,
  nearestKept,
} from "@kvcache/kernels";

export interface NearestMergingOptions {
  /** Least cosine similarity of two keys whose values are merged, in [0, 1]. */
  readonly threshold: number;
  /** Fraction of the evicted tokens of a row that are merged, the most similar ones, in (0, 1]. */
  readonly fraction: number;
}

/**
 * Folds the value of every evicted token into that of the kept one with the most similar key,
 * weighted by similarity and by its share of the two norms. Keys stay as they are. Throws
 * `invalid-argument` naming the option that is out of range.
 */
export function nearestMerging({ threshold, fraction }: NearestMergingOptions): Transform {
  checkFraction("threshold", threshold);
  if (checkFraction("fraction", fraction) === 0)
    throw new KvCacheError("invalid-argument", "fraction must be above 0.", {
      value: fraction,
      remedy: "Use the wrapped policy alone to merge nothing.",
    });
  return Object.freeze<Transform>({
    name: "nearest-merging",
    apply(encoder, batch, keep) {
      const nearest = encoder.tensor("u32", batch.totalSlots);
      const similarity = encoder.tensor("f32", batch.totalSlots);
      encoder.run(nearestKept, { batch, keep, nearest, similarity });
      encoder.run(mergeValues, { batch, keep, nearest, similarity, threshold, fraction });
    },
  });
}

export interface ForwardMergingOptions {
  /** Evicted tokens of a row that are merged, at most: those that scored best. */
  readonly merges: number;
  /** Kept tokens that follow a merged one and share its value, at most. */
  readonly neighbours: number;
  /** Of the random draws. */
  readonly seed: number;
  /** Whether a token is merged, in place of a draw with its probability. */
  readonly draw?: (candidate: MergeCandidate) => boolean;
}

/**
 * Adds values of evicted tokens to those of the kept tokens that follow, with the probability that
 * their attention so far bears to the mean of those. A draw depends on the seed, the layer, the head
 * and the position alone, so that it comes out the same in any batch. Needs the signal
 * attentionSums. Throws `invalid-argument` naming the option that is out of range.
 */
export function forwardMerging(options: ForwardMergingOptions): Transform {
  const { seed } = options;
  const merges = checkWholeNumber("merges", options.merges, 1);
  const neighbours = checkWholeNumber("neighbours", options.neighbours, 1);
  checkWholeNumber("seed", seed, 0);
  const draw =
    options.draw ??
    (({ layer, head, position, probability }: MergeCandidate) =>
      uniformDraw(seed, layer, head, position) < probability);
  return Object.freeze<Transform>({
    name: "forward-merging",
    apply(encoder, batch, keep, scores) {
      const means = encoder.tensor("f32", batch.totalSlots);
      encoder.run(headMeans, { batch, scores, out: means });
      encoder.run(mergeForward, { batch, keep, scores: means, merges, neighbours, draw });
    },
  });
}

/** A number in [0, 1) that looks random, the same for the same arguments (murmur's finish). */
function uniformDraw(...parts: readonly number[]): number {
  let hash = 0;
  for (const part of parts) {
    hash = Math.imul(hash ^ part, 0x9e3779b1);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    hash ^= hash >>> 16;
  }
  return (hash >>> 0) / 2 ** 32;
}
