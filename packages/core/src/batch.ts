import type { SequenceSlot } from "./cache.ts";
import type { HostCache } from "./host-cache.ts";
import type { CacheLayout } from "./layout.ts";
import type { ModelView, Observer } from "./observer.ts";
import type { KvShape } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

/** Tokens at both ends that a policy never evicts. */
export interface Protect {
  /** Positions 0 … sinks − 1. */
  readonly sinks: number;
  /** The last `recent` positions before the next one. */
  readonly recent: number;
}

/** What made a compression happen. */
export type CompressionPhase = "prefill" | "decode" | "pressure";

/**
 * What scorers, budgets and selectors see: the rows of a batch of sequences. Row of the batch =
 * (index of the sequence × layers.length + index of the layer) × numKvHeads + head.
 */
export interface KvBatch {
  readonly shape: KvShape;
  readonly layout: CacheLayout;
  readonly sequences: readonly SequenceSlot[];
  /**
   * Layers in the batch, ascending: every layer that owns blocks, unless a plan compacts in
   * mid-graph.
   */
  readonly layers: readonly number[];
  readonly numRows: number;
  /** u32 [numRows + 1]: row r has slots rowIndptr[r] … of every per-slot table of the batch. */
  readonly rowIndptr: Tensor;
  /** Entries of a per-slot table: rowIndptr[numRows] on the host, an upper bound on a device. */
  readonly totalSlots: number;
  /** Position that each sequence's next token gets. */
  readonly nextPositions: readonly number[];
  /**
   * Entries of the window-query ring that are valid for each sequence: min(windowSize, tokens
   * since its cache began or was restored).
   */
  readonly windowLengths: readonly number[];
  /** What the policy's scorer gathered from each sequence; undefined where it gathers nothing. */
  readonly observers?: readonly (Observer | undefined)[];
  /** Undefined where nobody knows the model, as in a test of a cache alone. */
  readonly model?: ModelView | undefined;
  readonly protect: Protect;
  readonly phase: CompressionPhase;
  /** The memory, where it lives on the host. */
  readonly host: HostCache | undefined;
}

/** What `CacheManager.batch` needs to know beside the sequences. */
export interface BatchOptions {
  readonly protect: Protect;
  readonly phase: CompressionPhase;
  /** Ascending; every layer that owns blocks when absent. */
  readonly layers?: readonly number[];
  /** Default: none. */
  readonly observers?: readonly (Observer | undefined)[];
  readonly model?: ModelView | undefined;
}
