import { cake as cakeBudget } from "@kvcache/budget-cake";
import { definePolicy } from "@kvcache/core";
import { type SpreadOptions, spread } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface CakeOptions extends Partial<SpreadOptions> {
  /** Temperatures of the layers' dispersion and shift, tuned per model by the authors. */
  readonly tau1?: number;
  readonly tau2?: number;
}

/**
 * CAKE — slice the cache by each layer's taste.
 * Layers whose attention is wide and moves get more tokens; a token counts by the mean and the variance
 * of the window's attention to it.
 * Qin et al. 2025, arXiv:2503.12491. Differs from the paper: all layers are compressed after the prompt,
 * not one after the other while it is read; decoding does not evict.
 */
export const cake = (options: CakeOptions = {}) => {
  const { window = 32, gamma = 200, pooling = { kind: "avg", size: 5 } } = options;
  const { groupReduce = "mean", tau1 = 1, tau2 = 1 } = options;
  return definePolicy({
    name: "cake",
    paper: "arXiv:2503.12491",
    scorer: spread({ window, gamma, pooling, groupReduce }),
    budget: cakeBudget({ window, tau1, tau2 }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent: window },
    queryAware: true,
    options: { window, gamma, pooling, groupReduce, tau1, tau2 },
  });
};
