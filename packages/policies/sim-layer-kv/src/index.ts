import { simLayerKV as simLayerKVBudget } from "@kvcache/budget-sim-layer-kv";
import { definePolicy } from "@kvcache/core";
import { position } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface SimLayerKVOptions {
  /** A layer is lazy where the attention on its first and last tokens is above it; 1 finds none. */
  readonly threshold?: number;
  /** First tokens looked at, and kept in lazy layers. */
  readonly sinks?: number;
  /** Last tokens looked at; lazy layers keep the last `recent` − `last`. */
  readonly recent?: number;
  /** Last queries that are observed. */
  readonly last?: number;
}

/**
 * SimLayerKV — lazy layers keep the first and the last tokens, the others everything.
 * A layer whose last queries look at nothing else does not need more; a threshold decides, so how
 * much is kept depends on the prompt and not on a target.
 * Zhang et al. 2024, arXiv:2410.13846. Differs from the paper: nothing is evicted while decoding.
 */
export const simLayerKV = (options: SimLayerKVOptions = {}) => {
  const { threshold = 1, sinks = 4, recent = 1024, last = 1 } = options;
  return definePolicy({
    name: "sim-layer-kv",
    paper: "arXiv:2410.13846",
    scorer: position(),
    budget: simLayerKVBudget({ threshold, sinks, recent, last }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks, recent: recent - last },
    queryAware: true,
    options: { threshold, sinks, recent, last },
  });
};
