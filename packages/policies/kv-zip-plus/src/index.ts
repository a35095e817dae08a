import { kvZip as kvZipBudget } from "@kvcache/budget-kv-zip";
import { definePolicy } from "@kvcache/core";
import { type RepeatAttentionOptions, repeatAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface KvZipPlusOptions extends Pick<RepeatAttentionOptions, "sinks" | "chunk"> {
  /** Each layer keeps the same total. Default false. */
  readonly layerwise?: boolean;
}

/**
 * KVzip+ — KVzip, with attention weighed by what it writes.
 * A weight counts ‖W_O v‖ of the value it moves, divided by the size of the block's input at the
 * query; then as KVzip.
 * Jegou and Jeblick 2026, arXiv:2601.07891 (as the target of KVzap), after Kim et al. 2025.
 * Differs from the paper: every head keeps at least one token.
 */
export const kvZipPlus = (options: KvZipPlusOptions = {}) => {
  const { sinks = 4, chunk = 2048, layerwise = false } = options;
  return definePolicy({
    name: "kv-zip-plus",
    paper: "arXiv:2601.07891",
    scorer: repeatAttention({ sinks, chunk, normalize: true }),
    budget: kvZipBudget({ scope: layerwise ? "layer" : "model" }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks, recent: 0 },
    queryAware: false,
    options: { sinks, chunk, layerwise },
  });
};
