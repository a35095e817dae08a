import { checkOneOf, checkWholeNumber, KvCacheError, type Scorer } from "@kvcache/core";
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
 * Throws `invalid-argument` naming the option that is out of range. Li et al. 2024,
 * arXiv:2404.14469, and its relatives.
 */
export function windowAttention(given: WindowAttentionOptions): Scorer {
  const options = checked({
    power: 1,
    buffer: 0,
    rowReduce: "mean",
    groupReduce: "mean",
    poolFirst: false,
    allHeads: false,
    slab: 0,
    excludeWindow: true,
    ...given,
  });
  return Object.freeze<Scorer>({
    name: "window-attention",
    options: { ...options },
    needs: [{ kind: "windowQueries", window: options.window }],
    score: (encoder, batch, out) => encoder.run(windowScore, { ...options, batch, out }),
  });
}

type Options = WindowAttentionOptions &
  Required<Omit<WindowAttentionOptions, "window" | "pooling">>;

function checked(options: Options): Options {
  checkWholeNumber("window", options.window, 1);
  checkWholeNumber("buffer", options.buffer, 0);
  checkWholeNumber("slab", options.slab, 0);
  checkOneOf("power", options.power, [1, 2]);
  checkOneOf("rowReduce", options.rowReduce, ["mean", "sum"]);
  checkOneOf("groupReduce", options.groupReduce, ["mean", "max", "sum"]);
  const { pooling } = options;
  if (pooling === undefined) return options;
  checkOneOf("pooling.kind", pooling.kind, ["avg", "max"]);
  if (checkWholeNumber("pooling.size", pooling.size, 1) % 2 === 0)
    throw new KvCacheError("invalid-argument", `pooling.size must be odd, got ${pooling.size}.`, {
      value: pooling.size,
    });
  return options;
}
