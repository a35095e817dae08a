import { layerRatios } from "@kvcache/budget-layer-ratios";
import { uniform } from "@kvcache/budget-uniform";
import { checkPolicy, definePolicy, type EvictionPolicy, policyOption } from "@kvcache/core";
import { keyNorm } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface PerLayerOptions {
  /** What evicts; null: tokens with long keys go. */
  readonly policy?: EvictionPolicy | null;
  /** Fractions kept by the layers, in proportion to each other; null: all the same. */
  readonly ratios?: readonly number[] | null;
}

const byKeyNorm = () => ({
  scorer: keyNorm(),
  budget: uniform(),
  selector: topK(),
  transform: undefined,
  trigger: { prefill: true, pressure: false },
  protect: { sinks: 0, recent: 0 },
  queryAware: false,
});

/**
 * Per layer — another policy, with a fraction of its own for every layer.
 * The fractions are scaled together until their mean is the plan's target.
 * The rule of kvpress' PerLayerCompressionPress; no paper of its own. Differs from the paper: the
 * mean is the plan's to choose, so that one profile serves all targets.
 */
export const perLayer = ({ policy = null, ratios = null }: PerLayerOptions = {}) => {
  const { transform, ...base } = policy ? checkPolicy("policy", policy) : byKeyNorm();
  return definePolicy({
    name: "per-layer",
    paper: "https://github.com/NVIDIA/kvpress",
    scorer: base.scorer,
    budget: ratios ? layerRatios({ budget: base.budget, ratios }) : base.budget,
    selector: base.selector,
    ...(transform && { transform }),
    trigger: base.trigger,
    protect: base.protect,
    queryAware: base.queryAware,
    options: { policy: policyOption(policy), ratios },
  });
};
