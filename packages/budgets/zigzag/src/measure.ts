import {
  type BudgetContext,
  checkFraction,
  checkOneOf,
  checkWholeNumber,
  type Encoder,
  groupSize,
  type Signal,
  type Tensor,
} from "@kvcache/core";
import {
  layerMeans,
  minimumBudget,
  outputBudget,
  queryHeadBudget,
  windowScore,
  windowSums,
} from "@kvcache/kernels";

/** What layers are weighed by. */
export interface LayerMeasure {
  readonly needs: readonly Signal[];
  /** Records the work that fills `out`, f32 [sequences × layers of the batch], not negative. */
  record(encoder: Encoder, context: BudgetContext, out: Tensor): void;
}

export interface LmbaOptions {
  /** Last queries observed. */
  readonly window: number;
  /** Fraction of the attention that must be kept. Default 0.9. */
  readonly tau?: number;
  /** Leaves the window's own tokens out. Default true. */
  readonly excludeWindow?: boolean;
  /** Looks at KV heads, the mean of their query heads (default), or at every query head. */
  readonly granularity?: "kvHead" | "queryHead";
}

/** Tokens that keep a fraction of the window's attention, averaged over the heads of a layer. */
export function lmba(options: LmbaOptions): LayerMeasure {
  const { window, tau = 0.9, excludeWindow = true, granularity = "kvHead" } = options;
  checkWholeNumber("window", window, 1);
  checkFraction("tau", tau);
  checkOneOf("granularity", granularity, ["kvHead", "queryHead"]);
  return {
    needs: [{ kind: "windowQueries", window }],
    record(encoder, { batch }, out) {
      const perRow = granularity === "kvHead" ? 1 : groupSize(batch.shape);
      const heads = encoder.tensor("f32", batch.numRows * perRow);
      if (granularity === "queryHead") {
        const sums = encoder.tensor("f32", batch.totalSlots * perRow);
        encoder.run(windowSums, { batch, window, out: sums });
        const exclude = excludeWindow ? window : 0;
        encoder.run(queryHeadBudget, { batch, sums, mass: tau, exclude, out: heads });
      } else {
        const importance = recordImportance(encoder, batch, window, excludeWindow);
        encoder.run(minimumBudget, { batch, importance, mass: tau, out: heads });
      }
      encoder.run(layerMeans, { values: heads, out });
    },
  };
}

/** Tokens whose values make up an output of that cosine to the full one, averaged over heads. */
export function lmbo(options: { readonly window: number; readonly similarity?: number }) {
  const { window, similarity = 0.9 } = options;
  checkWholeNumber("window", window, 1);
  checkFraction("similarity", similarity);
  return {
    needs: [{ kind: "windowQueries", window }],
    record(encoder, { batch }, out) {
      const heads = encoder.tensor("f32", batch.numRows);
      const importance = recordImportance(encoder, batch, window, true);
      encoder.run(outputBudget, { batch, importance, similarity, out: heads });
      encoder.run(layerMeans, { values: heads, out });
    },
  } satisfies LayerMeasure;
}

/** Mean attention of the window over queries and group, not pooled. */
function recordImportance(
  encoder: Encoder,
  batch: BudgetContext["batch"],
  window: number,
  excludeWindow: boolean,
): Tensor {
  const out = encoder.tensor("f32", batch.totalSlots);
  const reduce = { rowReduce: "mean", groupReduce: "mean" } as const;
  encoder.run(windowScore, { batch, out, window, excludeWindow, ...reduce });
  return out;
}
