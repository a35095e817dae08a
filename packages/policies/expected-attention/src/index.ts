import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import {
  expectedAttention as expectedAttentionScorer,
  type ExpectedAttentionOptions as ScorerOptions,
} from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export {
  calibrateQueryStatistics,
  convertQueryStatistics,
  type QueryStatisticsFile,
  queryCollector,
  readQueryStatistics,
  writeQueryStatistics,
} from "@kvcache/scorers";

export interface ExpectedAttentionOptions extends ScorerOptions {
  /** Sinks stay also where a ratio keeps fewer tokens; false lets them go, as kvpress does. */
  readonly keepProtected?: boolean;
}

/**
 * Expected Attention — keep what queries to come will look at, in closed form.
 * The prompt's queries before RoPE give mean and covariance; turned by the mean rotation of the next
 * positions, they give each key's expected attention, which its value's norm multiplies.
 * Devoto et al. 2025, arXiv:2510.00636. Differs from the paper: none.
 */
export const expectedAttention = (options: ExpectedAttentionOptions = {}) => {
  const { keepProtected = true, sinks = 4, covariance = true, ...rest } = options;
  const scorer = expectedAttentionScorer({ sinks, covariance, ...rest });
  return definePolicy({
    name: "expected-attention",
    paper: "arXiv:2510.00636",
    scorer,
    budget: uniform({ keepProtected }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks, recent: 0 },
    queryAware: false,
    options: { ...scorer.options, keepProtected },
  });
};
