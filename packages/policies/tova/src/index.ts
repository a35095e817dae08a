import { uniform } from "@kvcache/budget-uniform";
import { checkOneOf, definePolicy } from "@kvcache/core";
import { windowAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface TOVAOptions {
  /** kvpress never evicts the last token, the authors may. */
  readonly variant?: "kvpress" | "authors";
  /** Decoded tokens between two evictions. */
  readonly interval?: number;
}

/**
 * TOVA — keep what the last token attends to.
 * One row of attention, averaged over all query heads of a layer, ranks the tokens of the layer, so
 * that all its KV heads keep the same ones; once at the prompt's end and again while decoding.
 * Oren et al. 2024, arXiv:2401.06104. Differs from the paper: eviction every `interval` tokens, not
 * at every one; positions stay the true ones; the last token stays unless the variant is `authors`.
 */
export const tova = ({ variant = "kvpress", interval = 16 }: TOVAOptions = {}) => {
  checkOneOf("variant", variant, ["kvpress", "authors"]);
  const recent = variant === "kvpress" ? 1 : 0;
  return definePolicy({
    name: "tova",
    paper: "arXiv:2401.06104",
    scorer: windowAttention({ window: 1, allHeads: true, excludeWindow: recent === 1 }),
    budget: uniform(),
    selector: topK(),
    trigger: { prefill: true, interval, pressure: true },
    protect: { sinks: 0, recent },
    queryAware: true,
    options: { variant, interval },
  });
};
