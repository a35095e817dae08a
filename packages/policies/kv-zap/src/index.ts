import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import { type KvZapSurrogate, surrogate as surrogateScorer } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export {
  convertKvZap,
  type KvZapSurrogate,
  kvZapSurrogateOf,
  readKvZap,
  type SurrogateLayer,
  type SurrogateSamples,
  surrogateCorrelations,
  surrogateSamples,
  trainLinearSurrogate,
  trainMlp,
  trainMlpSurrogate,
  writeKvZap,
} from "@kvcache/scorers";

export interface KVzapOptions {
  /** Of the model that the policy serves; a plan without them is refused. */
  readonly surrogate?: KvZapSurrogate | null;
  /** Decoded tokens between two evictions; none while decoding when null. */
  readonly interval?: number | null;
}

/**
 * KVzap — keep what KVzip would keep, without its second pass.
 * A linear map or a small MLP per layer predicts, from a token's block input, the logarithm of the
 * score that repeating the context would give it.
 * Jégou and Jeblick 2026, arXiv:2601.07891. Differs from the paper: the best of each head stay; the
 * paper's threshold with its window is @kvcache/policy-dms over this policy.
 */
export const kvZap = ({ surrogate = null, interval = null }: KVzapOptions = {}) => {
  const scorer = surrogateScorer(surrogate);
  return definePolicy({
    name: "kv-zap",
    paper: "arXiv:2601.07891",
    scorer,
    budget: uniform(),
    selector: topK(),
    trigger: { prefill: true, pressure: false, ...(interval !== null && { interval }) },
    protect: { sinks: 0, recent: 0 },
    queryAware: false,
    options: { ...scorer.options, interval },
  });
};
