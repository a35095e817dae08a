import { kvZip } from "@kvcache/budget-kv-zip";
import { definePolicy } from "@kvcache/core";
import { type RepeatInfluenceOptions, repeatInfluence } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export type { GradientNorms } from "@kvcache/scorers";

export interface KVgradOptions extends Partial<RepeatInfluenceOptions> {
  /** Every layer keeps the same, in place of one total for the whole model. */
  readonly layerwise?: boolean;
}

/**
 * KVgrad — keep what the model's last hidden state depends on while it repeats its context.
 * KVzip's replay in chunks of 512; attention × what it writes × the gradient at the place it is
 * written to. Engines here run forward only: the gradients are the caller's.
 * KVgrad 2026, openreview.net/forum?id=cg1wTCJjjk. Differs from the paper: every head keeps at least
 * one token.
 */
export const kvGrad = (options: KVgradOptions = {}) => {
  const { layerwise = false, sinks = 4, chunk = 512, gradientNorms = null } = options;
  return definePolicy({
    name: "kv-grad",
    paper: "https://openreview.net/forum?id=cg1wTCJjjk",
    scorer: repeatInfluence({ sinks, chunk, gradientNorms }),
    budget: kvZip({ scope: layerwise ? "layer" : "model" }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks, recent: 0 },
    queryAware: false,
    options: { layerwise, sinks, chunk, gradientNorms: gradientNorms && "given" },
  });
};
