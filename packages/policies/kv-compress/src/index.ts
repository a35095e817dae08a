import { blockSchedule } from "@kvcache/budget-block-schedule";
import {
  checkOneOf,
  checkPolicy,
  definePolicy,
  type EvictionPolicy,
  policyOption,
} from "@kvcache/core";
import {
  accumulatedAttention,
  type WindowAttentionOptions,
  windowAttention,
} from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface KVCompressOptions {
  /** Whose scores say what a token is worth, in place of the attention that it gets. */
  readonly policy?: EvictionPolicy | null;
  /** Last queries of a prompt that score its tokens. */
  readonly observed?: number;
  /** Queries closer than this many positions to a token do not count for it. */
  readonly buffer?: number;
  /** Sums squared attention weights (l2) or plain ones (l1). */
  readonly norm?: "l2" | "l1";
  /** Over the prompt's scores of each query head; null for none. */
  readonly pooling?: Exclude<WindowAttentionOptions["pooling"], undefined> | null;
  /** Queries of a prompt that are pooled apart before they are added. */
  readonly slab?: number;
  readonly groupReduce?: "sum" | "mean" | "max";
  readonly sinks?: number;
  /** Last tokens that stay, the one about to be cached included. */
  readonly protectedWindow?: number;
  /** Decoded tokens between two compressions; null: at the prompt's end and under pressure only. */
  readonly interval?: number | null;
}

/**
 * KV-Compress — evict whole blocks per head, those with the least squared attention first.
 * A token's score starts as the pooled attention of the prompt's last queries and grows with every
 * decoded token, or is any policy's; compression goes on while decoding.
 * Rehg 2024, arXiv:2410.00161. Differs from the paper: see @kvcache/budget-block-schedule; compresses
 * every `interval` tokens rather than at every one.
 */
export const kvCompress = (options: KVCompressOptions = {}) => {
  const { observed = 32, buffer = 0, norm = "l2", pooling = { kind: "max", size: 7 } } = options;
  const { slab = 4096, groupReduce = "sum", sinks = 0, protectedWindow = 64 } = options;
  const inner = options.policy ? checkPolicy("policy", options.policy) : null;
  // Another policy's scores may not be there to take while decoding: its trigger says.
  const trigger = inner?.trigger ?? { prefill: true, interval: 16, pressure: true };
  const { interval = trigger.interval ?? null } = options;
  const power = checkOneOf("norm", norm, ["l2", "l1"]) === "l2" ? 2 : 1;
  const atPrefillEnd = windowAttention({
    window: observed,
    power,
    buffer,
    pooling: pooling ?? undefined,
    rowReduce: "sum",
    groupReduce,
    poolFirst: true,
    slab,
    excludeWindow: false,
  });
  return definePolicy({
    name: "kv-compress",
    paper: "arXiv:2410.00161",
    scorer: inner?.scorer ?? accumulatedAttention({ power, phase: "decode", buffer, atPrefillEnd }),
    budget: blockSchedule({ protectedWindow }),
    selector: topK({ ties: "higher-slot" }),
    trigger: {
      prefill: true,
      ...(interval !== null && { interval }),
      pressure: trigger.pressure,
    },
    protect: { sinks, recent: Math.max(0, protectedWindow - 1) },
    queryAware: inner?.queryAware ?? true,
    options: {
      policy: policyOption(inner),
      observed,
      buffer,
      norm,
      pooling,
      slab,
      groupReduce,
      sinks,
      protectedWindow,
      interval,
    },
  });
};
