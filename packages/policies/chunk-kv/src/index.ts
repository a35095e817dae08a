import { wholeChunks as chunkBudget } from "@kvcache/budget-whole-chunks";
import { checkPolicy, definePolicy, type EvictionPolicy, policyOption } from "@kvcache/core";
import { windowAttention } from "@kvcache/scorers";
import { wholeChunks } from "@kvcache/selectors";

export interface ChunkKVOptions {
  /** Whose scores rank the chunks; null: the attention of the prompt's last 64 queries. */
  readonly policy?: EvictionPolicy | null;
  /** Tokens of a chunk. */
  readonly chunk?: number;
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
 * ChunkKV — keep whole chunks of neighbouring tokens, so that what is kept still reads.
 * A chunk scores the mean of its tokens, over all heads of a layer, which keep the same chunks.
 * Liu et al. 2025, arXiv:2502.00299. Differs from the paper: layers do not reuse each other's choice;
 * protected tokens stay, alone where their chunk goes.
 */
export const chunkKV = (options: ChunkKVOptions = {}) => {
  const { policy = null, chunk = 20, keepProtected = true } = options;
  const base = policy ? checkPolicy("policy", policy) : byObservation();
  return definePolicy({
    name: "chunk-kv",
    paper: "arXiv:2502.00299",
    scorer: base.scorer,
    budget: chunkBudget({ chunk, keepProtected }),
    selector: wholeChunks({ chunk, keepProtected }),
    trigger: base.trigger,
    protect: base.protect,
    queryAware: base.queryAware,
    options: { policy: policyOption(policy), chunk, keepProtected },
  });
};
