import {
  type BudgetAllocator,
  type CacheLayout,
  defineKernel,
  definePolicy,
  type Encoder,
  type EvictionPolicy,
  hostArray,
  type KeepSet,
  type KvBatch,
  lengthsOf,
  type Observer,
  type Signal,
  signalsOf,
  sum,
  type Tensor,
} from "@kvcache/core";
import { protectScores } from "@kvcache/kernels";
import type { EvalVariant } from "./variant.ts";

/** What a variant would keep of a sequence, as handles of `encoder`. */
export interface CapturedKeep {
  readonly variant: EvalVariant;
  readonly keep: KeepSet;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
}

export interface Capture {
  /** Evicts nothing; when it "compresses", it notes what each variant would keep. */
  readonly policy: EvictionPolicy;
  /** Of the last compression. */
  taken(): { readonly encoder: Encoder; readonly keeps: readonly CapturedKeep[] } | undefined;
}

/**
 * One policy that stands for many: it asks for all their signals, so that one prefill serves them,
 * and runs each one's scorer, budget and selector on the cache as it is, scoring once where a scorer
 * does not look at the target.
 */
export function captureKeeps(variants: readonly EvalVariant[]): Capture {
  const policies = [...new Set(variants.flatMap(({ eviction }) => eviction?.policy ?? []))];
  let taken: ReturnType<Capture["taken"]>;
  const policy = definePolicy({
    name: "captured",
    paper: "this package",
    scorer: {
      name: "captured",
      needs: policies.flatMap((own): readonly Signal[] => signalsOf(own)),
      createObserver: (layout) => manyObservers(policies, layout),
      checkShape(shape, fingerprint) {
        for (const { scorer, budget } of policies) {
          scorer.checkShape?.(shape, fingerprint);
          budget.checkShape?.(shape, fingerprint);
        }
      },
      score(encoder, batch) {
        const scored = new Map<EvictionPolicy, Tensor>();
        const keeps = variants.flatMap((variant) =>
          variant.eviction
            ? [wouldKeep(encoder, batch, variant, variant.eviction, policies, scored)]
            : [],
        );
        taken = { encoder, keeps };
      },
    },
    budget: everything,
    selector: {
      name: "everything",
      select(encoder, batch) {
        const lengths = lengthsOf(hostArray(batch.rowIndptr, "u32"));
        const slots = Array.from(lengths, (length) => Array.from({ length }, (_, slot) => slot));
        return { indptr: batch.rowIndptr, indices: encoder.upload(Uint32Array.from(slots.flat())) };
      },
    },
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent: 0 },
    queryAware: true,
    options: {},
  });
  return { policy, taken: () => taken };
}

const everything: BudgetAllocator = {
  name: "everything",
  needs: [],
  resolve: ({ lengths }) => sum(lengths),
  allocate() {},
};

/** Records what one variant would keep; `scored` holds scores that serve several of them. */
function wouldKeep(
  encoder: Encoder,
  whole: KvBatch,
  variant: EvalVariant,
  { policy, target }: NonNullable<EvalVariant["eviction"]>,
  policies: readonly EvictionPolicy[],
  scored: Map<EvictionPolicy, Tensor>,
): CapturedKeep {
  const index = policies.indexOf(policy);
  const batch: KvBatch = {
    ...whole,
    protect: policy.protect,
    observers: whole.observers?.map((all) => (all as ManyObservers).parts[index]) ?? [],
  };
  let raw = scored.get(policy);
  // A scorer whose function takes no target gives the same scores for every one.
  if (!raw || policy.scorer.score.length > 3) {
    raw = encoder.tensor("f32", batch.totalSlots);
    policy.scorer.score(encoder, batch, raw, target);
    scored.set(policy, raw);
  }
  const scores = encoder.tensor("f32", batch.totalSlots);
  encoder.run(copyScores, { from: raw, to: scores });
  encoder.run(protectScores, { batch, scores });
  const counts = encoder.tensor("u32", batch.numRows);
  policy.budget.allocate(encoder, { batch, target, scores }, counts);
  return { variant, keep: policy.selector.select(encoder, batch, scores, counts, target), scores };
}

const copyScores = defineKernel<{ readonly from: Tensor; readonly to: Tensor }>({
  name: "copy-scores",
  reference: ({ from, to }) => hostArray(to, "f32").set(hostArray(from, "f32")),
});

/** The observers of several policies, in their order. */
interface ManyObservers extends Observer {
  readonly parts: readonly (Observer | undefined)[];
}

function manyObservers(policies: readonly EvictionPolicy[], layout: CacheLayout): ManyObservers {
  const of = (parts: ManyObservers["parts"]): ManyObservers => ({
    parts,
    observe(...pass) {
      for (const part of parts) part?.observe?.(...pass);
    },
    replay(...pass) {
      for (const part of parts) part?.replay?.(...pass);
    },
    truncate(position) {
      for (const part of parts) part?.truncate(position);
    },
    fork: () => of(parts.map((part) => part?.fork())),
  });
  return of(policies.map(({ scorer }) => scorer.createObserver?.(layout)));
}
