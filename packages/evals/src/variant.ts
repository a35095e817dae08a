import type { BudgetTarget, EvictionPolicy } from "@kvcache/core";

/** One plan of an evaluation; the same policy object in several variants is scored once. */
export interface EvalVariant {
  /** Name of the policy with its options, as the records call it. */
  readonly policy: string;
  readonly budget: string;
  /** Absent for the full cache. */
  readonly eviction?: { readonly policy: EvictionPolicy; readonly target: BudgetTarget };
}

/** The full cache: what every other plan is held against. */
export const fullCache: EvalVariant = { policy: "full", budget: "1" };
