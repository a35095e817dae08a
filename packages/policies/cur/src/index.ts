import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import { cur as curScorer, type CurOptions as ScorerOptions } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface CurOptions extends Omit<ScorerOptions, "projectionOf"> {
  /** Sinks stay also where a ratio keeps fewer tokens; false lets them go, as kvpress does. */
  readonly keepProtected?: boolean;
}

/**
 * CurDKV — keep the rows of keys and values that a CUR decomposition would choose.
 * Squared norms of key and value, as shares of the tokens nearby, stand in for leverage scores; their
 * product ranks the tokens.
 * Sengupta et al. 2025, arXiv:2509.15038. Differs from the paper: norms instead of leverage scores,
 * and a random projection only on demand, as kvpress does.
 */
export const cur = ({ keepProtected = true, sinks = 4, ...rest }: CurOptions = {}) => {
  const scorer = curScorer({ sinks, ...rest });
  return definePolicy({
    name: "cur",
    paper: "arXiv:2509.15038",
    scorer,
    budget: uniform({ keepProtected }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks, recent: 0 },
    queryAware: false,
    options: { ...scorer.options, keepProtected },
  });
};
