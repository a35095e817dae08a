import { lava as lavaBudget } from "@kvcache/budget-lava";
import { definePolicy } from "@kvcache/core";
import { valueBounded, type WindowAttentionOptions, windowAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface LavaOptions
  extends Partial<Pick<WindowAttentionOptions, "window" | "pooling" | "groupReduce">> {
  /** Part of an even split that every head of a layer gets. */
  readonly floor?: number;
  /** `reference` loses what cutting to whole tokens leaves over; `exact` hands it out. */
  readonly rounding?: "reference" | "exact";
}

/**
 * LAVa — one loss bound for layers, heads and tokens.
 * A token counts by the window's attention times the largest value of its head; layers share by the
 * entropy of those scores, heads by who holds the layer's best. No hyper-parameter is tuned.
 * Shen et al. 2025, arXiv:2509.09754. Differs from the paper: all layers are compressed after the
 * prompt; scores are reduced over the query heads of a KV head by their maximum, as in the code.
 */
export const lava = (options: LavaOptions = {}) => {
  const { window = 32, pooling = { kind: "max", size: 7 }, groupReduce = "max" } = options;
  const { floor = 0, rounding = "reference" } = options;
  const attention = windowAttention({ window, pooling, groupReduce, poolFirst: true });
  return definePolicy({
    name: "lava",
    paper: "arXiv:2509.09754",
    scorer: valueBounded(attention, window),
    budget: lavaBudget({ floor, rounding }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent: window },
    queryAware: true,
    options: { window, pooling, groupReduce, floor, rounding },
  });
};
