import { globalTop } from "@kvcache/budget-global-top";
import { definePolicy } from "@kvcache/core";
import { type DefensiveOptions, defensive } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface DefensiveKVOptions extends Partial<DefensiveOptions> {
  /** Part of its even share that each head is sure of. */
  readonly safeguard?: number;
}

/**
 * DefensiveKV — trust the worst case, not the mean.
 * A token counts by the largest attention that any recent query pays it, not below its head's mean, times
 * its value's size; the best of a layer's tokens stay, whichever head they are in.
 * Feng et al. 2025, arXiv:2510.13334. Differs from the paper: follows the authors' code, which measures
 * the window's bias outside the window (`windowBias`) and has no safeguard.
 */
export const defensiveKV = (options: DefensiveKVOptions = {}) => {
  const { window = 32, pooling = { kind: "avg", size: 5 }, criticalMass = 0.9 } = options;
  const { windowBias = "reference", safeguard = 0 } = options;
  return definePolicy({
    name: "defensive-kv",
    paper: "arXiv:2510.13334",
    scorer: defensive({ window, pooling, criticalMass, windowBias }),
    budget: globalTop({ scope: "layer", safeguard }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent: window },
    queryAware: true,
    options: { window, pooling, criticalMass, windowBias, safeguard },
  });
};
