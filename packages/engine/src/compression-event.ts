import type { CompressionPhase } from "@kvcache/core";

/** One line of a sequence's compression log. */
export interface CompressionEvent {
  readonly phase: CompressionPhase;
  /** Tokens seen when it happened. */
  readonly tokens: number;
  /** Entries over all rows before and after. */
  readonly entriesBefore: number;
  readonly entriesAfter: number;
}
