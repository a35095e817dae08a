import type {
  Backend,
  BudgetAllocator,
  BudgetTarget,
  Encoder,
  EvictionPolicy,
  KvBatch,
  Protect,
} from "@kvcache/core";
import type { VectorCase, Verdict } from "./case.ts";
import type { KeepEvent, KeepRun } from "./run-keep.ts";

export type Params = Readonly<Record<string, unknown>>;

/** What a case runs, or why it cannot be run here. */
export type Method =
  | { readonly policy: EvictionPolicy; readonly target: BudgetTarget }
  | { readonly skip: string };

/** A budget alone, for cases that give the scores. */
export type BudgetMethod =
  | { readonly budget: BudgetAllocator; readonly target: BudgetTarget; readonly protect: Protect }
  | { readonly skip: string };

/** How the cases of one method are run: one entry of the tables in `methods/`. */
export interface MethodAdapter {
  /** Fills in what a case gives in another form than a cache holds. */
  readonly prepare?: (vector: VectorCase) => VectorCase;
  /** Policy and target of a case's parameters: kinds keep, scores and model. */
  readonly policy?: (params: Params, context: MethodContext) => Method;
  /** Budget of a case of kind budget. */
  readonly budget?: (params: Params, vector: VectorCase) => BudgetMethod;
  /** Our values of expected tensors beside scores, counts, indptr and indices, after the event. */
  readonly outputs?: Readonly<
    Record<string, (run: KeepRun) => ArrayLike<number> | Promise<ArrayLike<number>>>
  >;
  /** As `outputs`, of what compaction would change: read before it. */
  readonly measured?: Readonly<Record<string, (event: KeepEvent) => Promise<ArrayLike<number>>>>;
  /** Earlier events that the case gives traces of, for the kind keep. */
  readonly before?: (
    encoder: Encoder,
    batch: KvBatch,
    policy: EvictionPolicy,
    vector: VectorCase,
  ) => void;
  /** No free swaps between slots of like scores: the method evicts whole blocks or pages. */
  readonly exact?: boolean;
  /** Kinds that are run in a way of their own. */
  readonly run?: Readonly<
    Record<string, (vector: VectorCase, backend: Backend, method: Method) => Promise<Verdict>>
  >;
}

export interface MethodContext {
  readonly vector: VectorCase;
  /** The policy that a wrapping method names, `{ method, …its params }`. */
  policyOf(scorer: unknown): EvictionPolicy | { readonly skip: string };
}

export type MethodTable = Readonly<Record<string, MethodAdapter>>;

export const targetOf = ({ tokens, ratio }: Params): BudgetTarget =>
  tokens === undefined ? { ratio: (ratio ?? 1) as number } : { tokens: tokens as number };

/** The given parameters that a case has, so that ours default to their own. */
export const pick = (params: Params, names: readonly string[]): Record<string, unknown> =>
  Object.fromEntries(names.filter((name) => name in params).map((name) => [name, params[name]]));
