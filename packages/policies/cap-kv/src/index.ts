import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import { type CapacityOptions, capacity } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface CapKVOptions extends CapacityOptions {
  /** Sinks stay also where a ratio keeps fewer tokens; false lets them go, as kvpress does. */
  readonly keepProtected?: boolean;
}

/**
 * CapKV — keep the values that add most to what the cache can carry.
 * Weighted leverage of the values, each weighted by how well its key agrees with the prompt's mean
 * query, turned by the mean rotation of the next positions.
 * CapKV 2026, arXiv:2604.25975. Differs from the paper: cosines instead of dot products, and the
 * averaged rotation, as kvpress does.
 */
export const capKV = ({ keepProtected = true, sinks = 4, ...rest }: CapKVOptions = {}) => {
  const scorer = capacity({ sinks, ...rest });
  return definePolicy({
    name: "cap-kv",
    paper: "arXiv:2604.25975",
    scorer,
    budget: uniform({ keepProtected }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks, recent: 0 },
    queryAware: false,
    options: { ...scorer.options, keepProtected },
  });
};
