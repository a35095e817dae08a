import {
  type BudgetAllocator,
  type BudgetContext,
  checkWholeNumber,
  type Encoder,
  KvCacheError,
  type Signal,
  sum,
  type Tensor,
} from "@kvcache/core";
import { attentionSpread, preference, sharedTotal, spreadCounts } from "@kvcache/kernels";

/** What layers are weighed by. */
export interface LayerPreference {
  readonly needs: readonly Signal[];
  /** Records the work that fills `out`, f32 [sequences × layers of the batch], not negative. */
  record(encoder: Encoder, context: BudgetContext, out: Tensor): void;
}

export interface CakeOptions {
  /** Last queries observed. Default 32. */
  readonly window?: number;
  /** Temperatures of dispersion and of shift: the smaller, the more it counts. Default 1 and 1. */
  readonly tau1?: number;
  readonly tau2?: number;
  /** Weighs layers in another way. */
  readonly measure?: LayerPreference;
}

/**
 * CAKE — layers share the cache by how wide and how changeable their attention is.
 * Preference = dispersion^(1 / tau1) × shift^(1 / tau2): entropy of the window's attention, and its
 * variance from query to query. A target in tokens is not enforced while a window more would do.
 * Qin et al. 2025, arXiv:2503.12491. Differs from the paper: budgets are allotted once, after the last
 * layer; a window of one query has no variance, and shares evenly.
 */
export function cake(options: CakeOptions = {}): BudgetAllocator {
  const { window = 32, tau1 = 1, tau2 = 1 } = options;
  checkWholeNumber("window", window, 1);
  for (const [name, tau] of Object.entries({ tau1, tau2 }))
    if (!(tau > 0 && Number.isFinite(tau)))
      throw new KvCacheError("invalid-argument", `${name} must be above 0, got ${tau}.`, {
        value: tau,
      });
  const { needs, record } = options.measure ?? bySpread(window, tau1, tau2);
  const slackOf = (target: BudgetContext["target"]) => ("tokens" in target ? window : 0);
  return Object.freeze<BudgetAllocator>({
    name: "cake",
    needs,
    resolve(request) {
      const { target, lengths, nextPosition } = request;
      const total = sharedTotal(request);
      const all = "tokens" in target && nextPosition <= target.tokens + slackOf(target);
      return all ? sum(lengths) : total;
    },
    allocate(encoder, context, counts) {
      const { batch, target, scores } = context;
      const out = encoder.tensor("f32", batch.sequences.length * batch.layers.length);
      record(encoder, context, out);
      const slack = slackOf(target);
      encoder.run(spreadCounts, { batch, target, scores, preference: out, slack, counts });
    },
  });
}

const bySpread = (window: number, tau1: number, tau2: number): LayerPreference => ({
  needs: [{ kind: "windowQueries", window }],
  record(encoder, { batch }, out) {
    const dispersion = encoder.tensor("f32", out.length);
    const shift = encoder.tensor("f32", out.length);
    encoder.run(attentionSpread, { batch, window, dispersion, shift });
    encoder.run(preference, { dispersion, shift, tau1, tau2, out });
  },
});
