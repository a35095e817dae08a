import {
  type BudgetAllocator,
  type BudgetRequest,
  type BudgetTarget,
  KvCacheError,
  type Protect,
} from "@kvcache/core";

export interface PhaseBudget {
  readonly budget: BudgetAllocator;
  /** What this phase's scores protect; as the batch says when absent. */
  readonly protect?: Protect;
  /** In place of the plan's target. */
  readonly target?: BudgetTarget | null;
}

export interface ByPhaseOptions {
  readonly prefill: PhaseBudget;
  readonly decoding: PhaseBudget;
}

/**
 * By phase — one rule when a prompt ends, another while the answer grows.
 * Each may have a target of its own; what is promised is the larger of the two.
 * The rule of kvpress' PrefillDecodingPress; no paper of its own. Differs from the paper: none.
 */
export function byPhase({ prefill, decoding }: ByPhaseOptions): BudgetAllocator {
  const promise = ({ budget, protect, target }: PhaseBudget, request: BudgetRequest) =>
    budget.resolve({
      ...request,
      protect: protect ?? request.protect,
      target: target ?? request.target,
    });
  // A target that one of the two takes is no target in vain.
  const takers = decoding.target ? [prefill] : [prefill, decoding];
  const withoutTarget = takers.every(({ budget }) => budget.withoutTarget)
    ? prefill.budget.withoutTarget
    : undefined;
  if (decoding.target && decoding.budget.withoutTarget)
    throw new KvCacheError(
      "invalid-plan",
      `While decoding, ${decoding.budget.name} takes no target: ${decoding.budget.withoutTarget}.`,
      { value: decoding.target, remedy: "Leave that phase's target out." },
    );
  return Object.freeze<BudgetAllocator>({
    name: "by-phase",
    needs: [...prefill.budget.needs, ...decoding.budget.needs],
    ...(withoutTarget !== undefined && { withoutTarget }),
    checkShape(shape, fingerprint) {
      prefill.budget.checkShape?.(shape, fingerprint);
      decoding.budget.checkShape?.(shape, fingerprint);
    },
    resolve: (request) => Math.max(promise(prefill, request), promise(decoding, request)),
    allocate(encoder, context, counts) {
      const { budget, protect, target } = context.batch.phase === "prefill" ? prefill : decoding;
      const batch = { ...context.batch, protect: protect ?? context.batch.protect };
      budget.allocate(encoder, { ...context, batch, target: target ?? context.target }, counts);
    },
  });
}
