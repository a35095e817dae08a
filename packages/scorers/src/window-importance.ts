import { checkOneOf, checkWholeNumber, type Scorer } from "@kvcache/core";
import { type Pooling, pool } from "@kvcache/kernels";
import { type ScorerRow, scorerFrom } from "./scorer-from.ts";

export interface WindowImportanceOptions {
  /** Last queries observed. */
  readonly window: number;
  /** Smoothing along the positions; none when absent. */
  readonly pooling?: Pooling | undefined;
  /** Over the logits of the query heads of a KV head. Default max. */
  readonly groupReduce?: "max" | "mean";
}

/**
 * Attention that the last queries would pay if the tokens before them were all there is: the group is
 * reduced on the logits, softmax over the keys before the window, mean over queries, then pooled. The
 * window's own tokens score 0. Cai et al. 2025, arXiv:2505.24133 (R-KV). Throws `invalid-argument`
 * naming the option that is out of range.
 */
export function windowImportance(options: WindowImportanceOptions): Scorer {
  const { window, pooling, groupReduce = "max" } = options;
  checkWholeNumber("window", window, 1);
  checkOneOf("groupReduce", groupReduce, ["max", "mean"]);
  return Object.freeze<Scorer>({
    ...scorerFrom("window-importance", [{ kind: "windowQueries", window }], (row) =>
      importance(row, groupReduce, pooling),
    ),
    options: { window, pooling, groupReduce },
  });
}

function importance(
  { keys, queries, numQueries, positions, nextPosition, length, headDim }: ScorerRow,
  groupReduce: "max" | "mean",
  pooling: Pooling | undefined,
): Float64Array {
  const before = [...positions.keys()]
    .filter((slot) => positions[slot]! < nextPosition - numQueries)
    .sort((a, b) => positions[a]! - positions[b]!);
  const perGroup = queries.length / numQueries / headDim;
  const means = new Float64Array(before.length);
  for (let i = 0; i < numQueries; i++) {
    const logits = before.map((slot) => {
      let reduced = groupReduce === "max" ? Number.NEGATIVE_INFINITY : 0;
      for (let member = 0; member < perGroup; member++) {
        const query = (i * perGroup + member) * headDim;
        let dot = 0;
        for (let c = 0; c < headDim; c++) dot += queries[query + c]! * keys[slot * headDim + c]!;
        reduced = groupReduce === "max" ? Math.max(reduced, dot) : reduced + dot / perGroup;
      }
      return reduced / Math.sqrt(headDim);
    });
    const highest = logits.reduce((most, x) => Math.max(most, x), Number.NEGATIVE_INFINITY);
    const total = logits.reduce((sum, x) => sum + Math.exp(x - highest), 0);
    logits.forEach((x, j) => {
      means[j]! += Math.exp(x - highest) / total / numQueries;
    });
  }
  if (pooling) pool(means, means.length, pooling);
  const scores = new Float64Array(length);
  before.forEach((slot, j) => {
    scores[slot] = means[j]!;
  });
  return scores;
}
