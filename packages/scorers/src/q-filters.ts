import { KvCacheError, type Scorer } from "@kvcache/core";
import { checkQFilters, type QFilters } from "./q-filters-file.ts";
import { scorerFrom } from "./scorer-from.ts";

/**
 * Minus the projection of each key onto its head's filter. Godey et al. 2025, arXiv:2503.02812.
 * Throws `invalid-plan` without filters, or with those of a model of another shape.
 */
export function qFilterProjection(filters: QFilters | null): Scorer {
  const scorer = scorerFrom("q-filters", [], ({ keys, layer, head, length, headDim }) => {
    const { shape, filters: all } = filters!;
    const from = (layer * shape[1] + head) * headDim;
    const scores = new Float64Array(length);
    for (let j = 0, at = 0; j < length; j++)
      for (let c = 0; c < headDim; c++, at++) scores[j]! -= keys[at]! * all[from + c]!;
    return scores;
  });
  const checkShape: Scorer["checkShape"] = (shape) => {
    if (!filters)
      throw new KvCacheError("invalid-plan", "Q-Filters need the filters of the model.", {
        remedy: "Load a published file or calibrate: see @kvcache/policy-q-filters.",
      });
    checkQFilters(filters, shape);
  };
  return Object.freeze<Scorer>({
    ...scorer,
    options: {
      filters: filters && { model: filters.model, fingerprint: filters.fingerprint },
    },
    checkShape,
    score(encoder, batch, out) {
      checkShape(batch.shape);
      scorer.score(encoder, batch, out);
    },
  });
}
