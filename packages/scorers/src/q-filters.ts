import { KvCacheError, type Scorer } from "@kvcache/core";
import { keyProjection } from "@kvcache/kernels";
import { checkQFilters, type QFilters } from "./q-filters-file.ts";

/**
 * Minus the projection of each key onto its head's filter. Godey et al. 2025, arXiv:2503.02812.
 * Throws `invalid-plan` without filters, or with those of a model of another shape.
 */
export function qFilterProjection(filters: QFilters | null): Scorer {
  const checkShape: NonNullable<Scorer["checkShape"]> = (shape, fingerprint) => {
    if (!filters)
      throw new KvCacheError("invalid-plan", "Q-Filters need the filters of the model.", {
        remedy: "Load a published file or calibrate: see @kvcache/policy-q-filters.",
      });
    checkQFilters(filters, shape, fingerprint);
  };
  return Object.freeze<Scorer>({
    name: "q-filters",
    options: {
      filters: filters && { model: filters.model, fingerprint: filters.fingerprint },
    },
    needs: [],
    checkShape,
    score(encoder, batch, out) {
      checkShape(batch.shape);
      encoder.run(keyProjection, { batch, directions: filters!.filters, out });
    },
  });
}
