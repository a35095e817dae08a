import { uniform } from "@kvcache/budget-uniform";
import { checkPolicy, definePolicy, type EvictionPolicy, policyOption } from "@kvcache/core";
import { keyDiff } from "@kvcache/scorers";
import { blockwise } from "@kvcache/selectors";

export interface BlockOptions {
  /** Whose scores decide; null: how far keys lie from their mean (KeyDiff). */
  readonly policy?: EvictionPolicy | null;
  /** Tokens that are taken in at a time. */
  readonly block?: number;
}

const byDifference = () => ({
  scorer: keyDiff(),
  protect: { sinks: 0, recent: 0 },
  trigger: { prefill: true, pressure: false },
  queryAware: false,
});

/**
 * Block — choose as if the prompt came block by block and only the budget and a block were held.
 * The first tokens fill the budget; each further block is scored with what is kept, and the best stay.
 * The prefill rule of KeyDiff, Park et al. 2025, arXiv:2504.15364, over any scores. Differs from the
 * paper: keys come from a full prefill, of which the choice is made at the end.
 */
export const block = ({ policy = null, block: size = 128 }: BlockOptions = {}) => {
  const base = policy ? checkPolicy("policy", policy) : byDifference();
  return definePolicy({
    name: "block",
    paper: "arXiv:2504.15364",
    scorer: base.scorer,
    budget: uniform(),
    selector: blockwise({ scorer: base.scorer, block: size }),
    trigger: base.trigger,
    protect: base.protect,
    queryAware: base.queryAware,
    options: { policy: policyOption(policy), block: size },
  });
};
