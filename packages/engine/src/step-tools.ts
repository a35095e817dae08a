import type { BlockAccount } from "./block-account.ts";
import type { EngineCounters } from "./engine-stats.ts";
import type { PrefixReuse } from "./prefix-reuse.ts";
import type { Roster } from "./roster.ts";
import type { Runtime } from "./runtime.ts";
import type { Sequence } from "./sequence.ts";

/** What the parts of a step work with. */
export interface StepTools {
  readonly runtime: Runtime;
  readonly roster: Roster;
  readonly account: BlockAccount;
  readonly prefixes: PrefixReuse;
  readonly counters: EngineCounters;
  /** Keeps everybody else off the cache while a backend works on it. */
  whileBusy<R>(work: () => Promise<R>): Promise<R>;
  /** Rejects the request that a sequence belongs to, and only that. */
  fail(sequence: Sequence, error: unknown): void;
}
