import { chunkShares as evenShares } from "@kvcache/budget-chunk-shares";
import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import { type QuestionAttentionOptions, questionAttention } from "@kvcache/scorers";
import { chunkShares, keyRerotation, topK } from "@kvcache/selectors";

export interface FinchOptions extends Pick<QuestionAttentionOptions, "normalize"> {
  /** Tokens of the question at the prompt's end: they look, and stay. Default 32. */
  readonly window?: number;
  /** Positions of a chunk, each of which keeps the same fraction; null: the prompt as a whole. */
  readonly chunk?: number | null;
  /** Moves what is kept to the positions 0, 1, 2 … Default true. */
  readonly rerotate?: boolean;
  /** The question stays also where a ratio keeps fewer tokens; false lets it go, as kvpress does. */
  readonly keepProtected?: boolean;
}

/**
 * FINCH — keep what the question looks at, and move it together.
 * Scores a token by the attention of the question's queries, later ones weighing more; keys of what
 * stays are rotated to the first positions.
 * Corallo and Papotti 2024, doi:10.1162/tacl_a_00716. Differs from the paper: the prompt is read as a
 * whole before anything goes; with `chunk` each chunk then keeps its share, but does not see less.
 */
export const finch = (options: FinchOptions = {}) => {
  const { window = 32, normalize = true, chunk = null, rerotate = true } = options;
  const { keepProtected = true } = options;
  return definePolicy({
    name: "finch",
    paper: "doi:10.1162/tacl_a_00716",
    scorer: questionAttention({ window, normalize }),
    budget: chunk === null ? uniform({ keepProtected }) : evenShares({ chunk }),
    selector: chunk === null ? topK() : chunkShares({ chunk }),
    ...(rerotate && { transform: keyRerotation() }),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent: keepProtected ? window : 0 },
    queryAware: true,
    options: { window, normalize, chunk, rerotate, keepProtected },
  });
};
