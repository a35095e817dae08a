import { uniform } from "@kvcache/budget-uniform";
import { checkPolicy, definePolicy, type EvictionPolicy, policyOption } from "@kvcache/core";
import { windowAttention } from "@kvcache/scorers";
import { entropyGatedChunks } from "@kvcache/selectors";

export interface EntropyGatedChunkKVOptions {
  /** Whose scores rank the chunks; null: the attention of the prompt's last 64 queries. */
  readonly policy?: EvictionPolicy | null;
  /** Tokens of a chunk. */
  readonly chunk?: number;
  /** Tokens that a good chunk keeps whose score comes from few of them; below `chunk`. */
  readonly lowEntropyTokens?: number;
  /** Protected tokens stay also where a ratio keeps fewer; false lets them go, as kvpress does. */
  readonly keepProtected?: boolean;
}

const byObservation = () => ({
  scorer: windowAttention({ window: 64, pooling: { kind: "avg", size: 5 }, poolFirst: true }),
  protect: { sinks: 0, recent: 64 },
  trigger: { prefill: true, pressure: false },
  queryAware: true,
});

/**
 * Entropy-gated ChunkKV — whole chunks, but a chunk that lives by few tokens keeps only those.
 * A chunk at or above the median score whose scores spread less evenly than the median chunk's is
 * cut to its best tokens; what that saves goes to further chunks, then to the best single tokens.
 * Part of kvpress 0.5.5, over ChunkKV, arXiv:2502.00299. Differs from the paper: it has none of its
 * own; protected tokens come first.
 */
export const entropyGatedChunkKV = (options: EntropyGatedChunkKVOptions = {}) => {
  const { policy = null, chunk = 10, lowEntropyTokens = 4, keepProtected = true } = options;
  const base = policy ? checkPolicy("policy", policy) : byObservation();
  return definePolicy({
    name: "entropy-gated-chunk-kv",
    paper: "arXiv:2502.00299",
    scorer: base.scorer,
    budget: uniform({ keepProtected }),
    selector: entropyGatedChunks({ chunk, lowEntropyTokens, keepProtected }),
    trigger: base.trigger,
    protect: base.protect,
    queryAware: base.queryAware,
    options: { policy: policyOption(policy), chunk, lowEntropyTokens, keepProtected },
  });
};
