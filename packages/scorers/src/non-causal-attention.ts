import { checkOneOf, checkWholeNumber, type Protect, type Scorer } from "@kvcache/core";
import { receivedScore } from "@kvcache/kernels";
import { observed } from "./observed.ts";
import { readObserved } from "./position-table.ts";
import { hasReceivedAttention, receivedAttentionObserver } from "./received-attention.ts";

export interface NonCausalAttentionOptions {
  /** Tokens that look at each other. Default 256. */
  readonly chunk?: number;
  /**
   * A last, shorter chunk: filled up with keys of logit 0 and queries that see all alike, as kvpress
   * does (default), or taken as it is.
   */
  readonly padding?: "zero-logit" | "none";
  /** Tokens at both ends that take no part and score +∞. Default none. */
  readonly ends?: Protect;
}

/**
 * Attention that each token receives from its whole chunk, tokens after it included, times the norm
 * of its value; smoothed, and standardised over the layer. Chari and Van Durme 2025,
 * arXiv:2507.08143. Throws `invalid-argument` naming the option that is out of range.
 */
export function nonCausalAttention(options: NonCausalAttentionOptions = {}): Scorer {
  const { chunk = 256, padding = "zero-logit", ends = { sinks: 0, recent: 0 } } = options;
  checkWholeNumber("chunk", chunk, 1);
  checkOneOf("padding", padding, ["zero-logit", "none"]);
  const padded = padding === "zero-logit";
  return Object.freeze<Scorer>({
    name: "received-attention",
    options: { chunk, padding, ends },
    needs: [{ kind: "chunkQueries" }],
    createObserver: (layout) => receivedAttentionObserver(layout, { chunk, padded, ends }),
    score(encoder, batch, out) {
      const tables = batch.sequences.map((_, i) =>
        observed(batch, i, hasReceivedAttention).received(encoder, batch, i),
      );
      encoder.run(receivedScore, {
        batch,
        out,
        ends,
        received: (i, layer, head, position) =>
          readObserved(tables[i]!, batch, layer, head, position),
      });
    },
  });
}
