import { KvCacheError, type Scorer } from "@kvcache/core";
import { type Pooling, windowScore } from "@kvcache/kernels";

export interface WindowAttentionOptions {
  /** Last queries observed. */
  readonly window: number;
  /** Smoothing along the positions: stride 1, same length; none when absent. */
  readonly pooling?: Pooling | undefined;
  /** 2 sums squared attention weights. Default 1. */
  readonly power?: 1 | 2;
  /** Attention to keys closer than this many positions counts as 0. Default 0. */
  readonly buffer?: number;
  /** Over the queries of the window. Default mean. */
  readonly rowReduce?: "mean" | "sum";
  /** Over the query heads of a KV head. Default mean. */
  readonly groupReduce?: "mean" | "max" | "sum";
  /** Pools each query head before its group is reduced. Default false. */
  readonly poolFirst?: boolean;
  /** Reduces over all query heads of the layer, so that its rows score alike. Default false. */
  readonly allHeads?: boolean;
  /** Queries that are pooled apart before they are added; 0 (default) = all at once. */
  readonly slab?: number;
  /** The window's own tokens score 0 and are left out of the pooling. Default true. */
  readonly excludeWindow?: boolean;
}

/**
 * Attention that the last `window` queries pay to each token, softmax over all keys of its row.
 * Throws `invalid-argument` unless the window is a positive integer. Li et al. 2024,
 * arXiv:2404.14469, and its relatives.
 */
export function windowAttention(options: WindowAttentionOptions): Scorer {
  const { window, rowReduce = "mean", groupReduce = "mean", excludeWindow = true } = options;
  if (!Number.isSafeInteger(window) || window < 1)
    throw new KvCacheError(
      "invalid-argument",
      `The observation window must be a positive number of queries, got ${window}.`,
      { value: window, remedy: "Use 32 or 64." },
    );
  return Object.freeze<Scorer>({
    name: "window-attention",
    needs: [{ kind: "windowQueries", window }],
    score: (encoder, batch, out) =>
      encoder.run(windowScore, { ...options, batch, out, rowReduce, groupReduce, excludeWindow }),
  });
}
