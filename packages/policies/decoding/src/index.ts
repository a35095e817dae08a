import { uniform } from "@kvcache/budget-uniform";
import { checkPolicy, definePolicy, type EvictionPolicy, policyOption } from "@kvcache/core";
import { keyNorm } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface DecodingOptions {
  /** What evicts; null: tokens with long keys go. */
  readonly policy?: EvictionPolicy | null;
  /** Decoded tokens between two compressions. */
  readonly interval?: number;
}

const byKeyNorm = () => ({
  scorer: keyNorm(),
  budget: uniform(),
  selector: topK(),
  transform: undefined,
  protect: { sinks: 0, recent: 0 },
  queryAware: false,
});

/**
 * Decoding — evict every so many generated tokens, and nothing when the prompt ends.
 * Another policy decides, each time down to the plan's target.
 * The rule of kvpress' DecodingPress; no paper of its own. Differs from the paper: window scorers see
 * the last queries at their own positions; whole turns of a conversation do not compress early.
 */
export const decoding = ({ policy = null, interval = 512 }: DecodingOptions = {}) => {
  const { transform, ...base } = policy ? checkPolicy("policy", policy) : byKeyNorm();
  return definePolicy({
    name: "decoding",
    paper: "https://github.com/NVIDIA/kvpress",
    scorer: base.scorer,
    budget: base.budget,
    selector: base.selector,
    ...(transform && { transform }),
    trigger: { prefill: false, interval, pressure: false },
    protect: base.protect,
    queryAware: base.queryAware,
    options: { policy: policyOption(policy), interval },
  });
};
