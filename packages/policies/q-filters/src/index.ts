import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import { type QFilters, qFilterProjection } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export {
  calibrateQFilters,
  convertQFilters,
  type QFilters,
  queryCollector,
  readQFilters,
  writeQFilters,
} from "@kvcache/scorers";

export interface QFiltersOptions {
  /** Of the model that the policy serves; a plan without them is refused. */
  readonly filters?: QFilters | null;
}

/**
 * Q-Filters — keep the keys that lie against the main direction of their head's queries.
 * One direction per KV head, found once per model, ranks keys by a single dot product.
 * Godey et al. 2025, arXiv:2503.02812. Differs from the paper: none.
 */
export const qFilters = ({ filters = null }: QFiltersOptions = {}) => {
  const scorer = qFilterProjection(filters);
  return definePolicy({
    name: "q-filters",
    paper: "arXiv:2503.02812",
    scorer,
    budget: uniform(),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent: 0 },
    queryAware: false,
    options: { ...scorer.options },
  });
};
