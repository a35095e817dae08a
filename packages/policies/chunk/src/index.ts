import { chunkShares as chunkBudget } from "@kvcache/budget-chunk-shares";
import { checkPolicy, definePolicy, type EvictionPolicy, policyOption } from "@kvcache/core";
import { chunkwise, keyNorm } from "@kvcache/scorers";
import { chunkShares } from "@kvcache/selectors";

export interface ChunkOptions {
  /** Whose scores rank the tokens of a chunk; null: by the norms of their keys. */
  readonly policy?: EvictionPolicy | null;
  /** Positions of a chunk. */
  readonly chunk?: number;
}

const byKeyNorm = () => ({
  scorer: keyNorm(),
  protect: { sinks: 0, recent: 0 },
  trigger: { prefill: true, pressure: false },
  queryAware: false,
});

/**
 * Chunk — every stretch of a prompt is scored by itself and keeps the same fraction.
 * Another policy's scorer sees one chunk at a time, as if nothing else were cached.
 * The rule of kvpress' ChunkPress; no paper of its own. Differs from the paper: scorers that observe
 * queries see the prompt's last ones in every chunk; protected tokens always stay.
 */
export const chunk = ({ policy = null, chunk: size = 1024 }: ChunkOptions = {}) => {
  const base = policy ? checkPolicy("policy", policy) : byKeyNorm();
  return definePolicy({
    name: "chunk",
    paper: "https://github.com/NVIDIA/kvpress",
    scorer: chunkwise(base.scorer, size),
    budget: chunkBudget({ chunk: size }),
    selector: chunkShares({ chunk: size }),
    trigger: base.trigger,
    protect: base.protect,
    queryAware: base.queryAware,
    options: { policy: policyOption(policy), chunk: size },
  });
};
