import { checkOneOf, checkWholeNumber, KvCacheError, type Scorer } from "@kvcache/core";
import { type Pooling, spreadScore } from "@kvcache/kernels";

export interface SpreadOptions {
  /** Last queries observed. */
  readonly window: number;
  /** Weight of the variance over the queries against their mean. Default 200. */
  readonly gamma?: number;
  /** Smoothing along the positions, per query head; null for none. Default avg 5. */
  readonly pooling?: Pooling | null;
  /** Over the query heads of a KV head, after pooling. Default mean. */
  readonly groupReduce?: "mean" | "max";
}

/**
 * Mean attention of the last queries plus γ × its variance over them: what some query needs much
 * counts more than what all need a little. Throws `invalid-argument` naming the option that is out
 * of range. Qin et al. 2025, arXiv:2503.12491.
 */
export function spread(options: SpreadOptions): Scorer {
  const { window, gamma = 200, pooling = { kind: "avg", size: 5 }, groupReduce = "mean" } = options;
  checkWholeNumber("window", window, 1);
  checkOneOf("groupReduce", groupReduce, ["mean", "max"]);
  if (!(gamma >= 0 && Number.isFinite(gamma)))
    throw new KvCacheError("invalid-argument", `gamma must not be negative, got ${gamma}.`, {
      value: gamma,
    });
  return Object.freeze<Scorer>({
    name: "spread",
    options: { window, gamma, pooling, groupReduce },
    needs: [{ kind: "windowQueries", window }],
    score: (encoder, batch, out) =>
      encoder.run(spreadScore, {
        batch,
        out,
        window,
        gamma,
        pooling: pooling ?? undefined,
        groupReduce,
      }),
  });
}
