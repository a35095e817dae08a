import { uniform } from "@kvcache/budget-uniform";
import { type BudgetAllocator, definePolicy, sum } from "@kvcache/core";
import { position } from "@kvcache/scorers";
import { type QuestBlocksOptions, questBlocks, topK } from "@kvcache/selectors";

export interface QuestOptions extends Partial<QuestBlocksOptions> {}

/** Evicts nothing. */
const everything: BudgetAllocator = {
  name: "everything",
  needs: [],
  withoutTarget: "it evicts nothing, and its option tokens says how much is read",
  resolve: ({ lengths }) => sum(lengths),
  allocate: (encoder, context, counts) =>
    uniform().allocate(encoder, { ...context, target: { ratio: 1 } }, counts),
};

/**
 * Quest — keep everything, and read only blocks that the query could care for.
 * Bounds of each block's keys say how large a logit can get in it; a step attends to the blocks of
 * the largest. Saves reading, not memory: nothing is evicted.
 * Tang et al. 2024, arXiv:2406.10774. Differs from the paper: one list of blocks serves the query
 * heads of a KV head, by their largest bound; the current block is always among them.
 */
export const quest = (options: QuestOptions = {}) => {
  const { tokens = 1024, minBlocks = 3, alwaysCurrent = true, denseLayers = 2 } = options;
  return definePolicy({
    name: "quest",
    paper: "arXiv:2406.10774",
    scorer: position(),
    budget: everything,
    selector: topK(),
    readSelector: questBlocks({ tokens, minBlocks, alwaysCurrent, denseLayers }),
    trigger: { prefill: false, pressure: false },
    protect: { sinks: 0, recent: 0 },
    queryAware: true,
    options: { tokens, minBlocks, alwaysCurrent, denseLayers },
  });
};
