import { uniform } from "@kvcache/budget-uniform";
import { type BudgetAllocator, definePolicy, sum } from "@kvcache/core";
import { position } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

/** Keeps every token of every row. */
const everything: BudgetAllocator = {
  name: "everything",
  needs: [],
  withoutTarget: "it evicts nothing",
  resolve: ({ lengths }) => sum(lengths),
  allocate: (encoder, context, counts) =>
    uniform().allocate(encoder, { ...context, target: { ratio: 1 } }, counts),
};

/**
 * Full — keep everything.
 * Never compresses; the baseline that the other policies are measured against.
 * Vaswani et al. 2017, arXiv:1706.03762. Differs from the paper: none.
 */
export const full = () =>
  definePolicy({
    name: "full",
    paper: "arXiv:1706.03762",
    scorer: position(),
    budget: everything,
    selector: topK(),
    trigger: { prefill: false, pressure: false },
    protect: { sinks: 0, recent: 0 },
    queryAware: false,
    options: {},
  });
