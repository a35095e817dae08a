import type { KvBatch, Protect } from "./batch.ts";
import type { BudgetTarget } from "./budget-target.ts";
import type { KeepSet } from "./cache.ts";
import type { Encoder } from "./encoder.ts";
import { KvCacheError } from "./errors.ts";
import type { CacheLayout } from "./layout.ts";
import type { Observer } from "./observer.ts";
import type { KvShape } from "./shape.ts";
import type { Signal } from "./signal.ts";
import type { Tensor } from "./tensor.ts";

/** Gives every cached token of every row one number: higher = keep. Protected slots get +∞. */
export interface Scorer {
  readonly name: string;
  /** JSON of what the scores depend on beside the name: part of a policy's fingerprint. */
  readonly options?: Readonly<Record<string, unknown>>;
  readonly needs: readonly Signal[];
  /**
   * Where scores need more than the cache holds: begins to gather it for one sequence. The scorer
   * finds it again in `batch.observers`.
   */
  createObserver?(layout: CacheLayout): Observer;
  /**
   * Throws when its weights or statistics are missing, or belong to a model of another shape, or of
   * another fingerprint where that is known.
   */
  checkShape?(shape: KvShape, fingerprint?: string): void;
  /**
   * Records the work that fills `out`, f32 [batch.totalSlots]. `target` is what the event aims at,
   * where there is one: few scorers look at it.
   */
  score(encoder: Encoder, batch: KvBatch, out: Tensor, target?: BudgetTarget): void;
}

/** The rows of one sequence, as a budget's `resolve` sees them. */
export interface BudgetRequest {
  readonly target: BudgetTarget;
  /** Tokens in each row of the sequence: [numLayers × numKvHeads]. */
  readonly lengths: Uint32Array;
  readonly nextPosition: number;
  readonly layout: CacheLayout;
  readonly protect: Protect;
}

export interface BudgetContext {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots], after protection. */
  readonly scores: Tensor;
}

/** Decides how many tokens every row keeps. */
export interface BudgetAllocator {
  readonly name: string;
  readonly needs: readonly Signal[];
  /**
   * Where something else than a target decides how much stays, says what: a whole sentence's second
   * half, such as "its threshold decides how much stays". Plans then take { ratio: 1 } only.
   */
  readonly withoutTarget?: string;
  /** Whether { ratio: 1 } surely evicts nothing, so that such a plan never has to score at all. */
  readonly keepsAllAtRatio1?: boolean;
  /**
   * Tokens that the plan promises to keep at most, summed over all rows of one sequence. Throws
   * when the target cannot be reached (fewer than the protected tokens, say).
   */
  resolve(request: BudgetRequest): number;
  /** Throws when its profile is missing or belongs to another model, as a scorer's does. */
  checkShape?(shape: KvShape, fingerprint?: string): void;
  /** Records the work that fills `counts`, u32 [batch.numRows]: 1 ≤ count ≤ row length. */
  allocate(encoder: Encoder, context: BudgetContext, counts: Tensor): void;
}

/** Turns scores and counts into kept slots. */
export interface Selector {
  readonly name: string;
  /** Default: none. */
  readonly needs?: readonly Signal[];
  /** `target` is what the event aims at, where there is one: few selectors look at it. */
  select(
    encoder: Encoder,
    batch: KvBatch,
    scores: Tensor,
    counts: Tensor,
    target?: BudgetTarget,
  ): KeepSet;
}

/** Chooses the blocks that one step reads; nothing is evicted (Quest). */
export interface ReadSelector {
  readonly name: string;
  readonly needs: readonly Signal[];
  /**
   * Asked before a decoded token is appended, so that the last query is that of the token before.
   * Kept indices are blocks of a row, 0 …; the block that the token is written to is read anyway.
   */
  selectBlocks(encoder: Encoder, batch: KvBatch): KeepSet;
}

/** What compaction does to the kept entries: re-rotate keys, merge values. */
export interface Transform {
  readonly name: string;
  /**
   * Records the change of kept entries in place, before they move together. `scores` are those that
   * the kept were chosen by, f32 [batch.totalSlots].
   */
  apply(encoder: Encoder, batch: KvBatch, keep: KeepSet, scores: Tensor): void;
  /** Position that the next token gets afterwards; the true one when absent. */
  nextPosition?(kept: number, truePosition: number): number;
}

/** When a compression happens: any of these. */
export interface Trigger {
  /** Once the prompt is cached. */
  readonly prefill: boolean;
  /** Every `interval` decoded tokens. */
  readonly interval?: number;
  /** When the pool runs short. */
  readonly pressure: boolean;
}

export interface EvictionPolicy {
  readonly specificationVersion: 1;
  /** Equals the package's suffix, for example "snap-kv". */
  readonly name: string;
  /** "arXiv:2404.14469", or where the method is described. */
  readonly paper: string;
  readonly scorer: Scorer;
  readonly budget: BudgetAllocator;
  readonly selector: Selector;
  readonly transform?: Transform;
  /** A policy that has one keeps everything in memory, and reads a part of it at each step. */
  readonly readSelector?: ReadSelector;
  readonly trigger: Trigger;
  readonly protect: Protect;
  /** Whether the kept set depends on the question being part of the prompt. */
  readonly queryAware: boolean;
  /** JSON of the options the policy was made with: part of its fingerprint. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** Checks a policy's fields and freezes it. Throws `invalid-argument` naming the field. */
export function definePolicy(policy: Omit<EvictionPolicy, "specificationVersion">): EvictionPolicy {
  const fail = (field: string, value: unknown, wanted: string): never => {
    throw new KvCacheError(
      "invalid-argument",
      `Policy ${policy.name}: ${field} must be ${wanted}, got ${String(value)}.`,
      {
        value,
      },
    );
  };
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(policy.name)) fail("name", policy.name, "kebab-case");
  for (const end of ["sinks", "recent"] as const) {
    const value = policy.protect[end];
    if (!Number.isSafeInteger(value) || value < 0)
      fail(`protect.${end}`, value, "a non-negative integer");
  }
  const { interval } = policy.trigger;
  if (interval !== undefined && (!Number.isSafeInteger(interval) || interval < 1))
    fail("trigger.interval", interval, "a positive integer");
  return Object.freeze({ specificationVersion: 1, ...policy });
}

/** All signals that a policy's parts ask for. */
export const signalsOf = (policy: EvictionPolicy): readonly Signal[] => [
  ...policy.scorer.needs,
  ...policy.budget.needs,
  ...(policy.selector.needs ?? []),
  ...(policy.readSelector?.needs ?? []),
];
