import type { Observer } from "@kvcache/core";
import type { SequencePlan } from "./sequence-plan.ts";

export interface SequenceOptions {
  readonly id: number;
  readonly arrival: number;
  readonly priority: number;
  readonly plan: SequencePlan;
  /** Prefixes are shared with sequences of the same salt only. */
  readonly cacheSalt: string;
  /** Looks at every pass beside the plan's own observer. */
  readonly profiler?: Observer | undefined;
  /** Whether turns follow that no session tells of. Default false. */
  readonly continues?: boolean;
}
