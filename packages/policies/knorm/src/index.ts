import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import { keyNorm } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface KnormOptions {
  /** Layers that keep everything; the authors leave out 0 and 1. */
  readonly skipLayers?: readonly number[];
  /** Last tokens that stay in any case. */
  readonly recent?: number;
}

/**
 * Knorm — keep the keys of small norm.
 * Attention flows to short keys, so minus the L2 norm ranks tokens without looking at a query.
 * Devoto et al. 2024, arXiv:2406.11430. Differs from the paper: no layer is skipped unless
 * `skipLayers` says so (as kvpress); no minimum length.
 */
export const knorm = ({ skipLayers = [], recent = 0 }: KnormOptions = {}) =>
  definePolicy({
    name: "knorm",
    paper: "arXiv:2406.11430",
    scorer: keyNorm(),
    budget: uniform({ skipLayers }),
    selector: topK(),
    trigger: { prefill: true, pressure: true },
    protect: { sinks: 0, recent },
    queryAware: false,
    options: { skipLayers, recent },
  });
