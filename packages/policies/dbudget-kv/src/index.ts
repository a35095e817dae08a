import { dbudget } from "@kvcache/budget-dbudget";
import { checkOneOf, definePolicy, type Protect } from "@kvcache/core";
import { position, windowAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface DBudgetKVOptions {
  /** Part of the last query's attention norm that a layer may lose; 0.01 in the paper. */
  readonly threshold?: number;
  /** What goes first: the oldest tokens, or those that the last eight queries look at least. */
  readonly ordering?: "position" | "attention";
  /** What always stays; null: four sinks by position, eight last tokens by attention. */
  readonly protect?: Protect | null;
  /** Layers that keep everything. */
  readonly skipLayers?: readonly number[];
}

/** Queries that attention ordering looks at. */
const observed = 8;

/**
 * DBudgetKV — no budget: evict while the last query does not notice.
 * Each layer gives up its cheapest tokens until the norm of the last query's attention over the others
 * has lost the threshold. Use it with { ratio: 1 }; a smaller target is a cap.
 * Ni et al. 2025, arXiv:2502.16886. Differs from the paper: see @kvcache/budget-dbudget; with attention
 * ordering, the query heads of a KV head share their sum.
 */
export const dBudgetKV = (options: DBudgetKVOptions = {}) => {
  const { threshold = 0.01, ordering = "position", skipLayers = [0, 1] } = options;
  checkOneOf("ordering", ordering, ["position", "attention"]);
  const byPosition = ordering === "position";
  const protect =
    options.protect ?? (byPosition ? { sinks: 4, recent: 0 } : { sinks: 0, recent: observed });
  return definePolicy({
    name: "dbudget-kv",
    paper: "arXiv:2502.16886",
    scorer: byPosition
      ? position()
      : windowAttention({
          window: observed,
          rowReduce: "sum",
          groupReduce: "sum",
          excludeWindow: false,
        }),
    budget: dbudget({ threshold, skipLayers }),
    selector: topK({ ties: "higher-slot" }),
    trigger: { prefill: true, pressure: false },
    protect,
    queryAware: true,
    options: { threshold, ordering, protect, skipLayers },
  });
};
