import type { Selector } from "@kvcache/core";
import { recordTopK } from "@kvcache/kernels";

export interface TopKOptions {
  /** Which of two equal scores is kept: the one in the lower slot (default) or in the higher. */
  readonly ties?: "lower-slot" | "higher-slot";
}

/** Keeps the highest scores of every row, exactly as many as its budget says. */
export const topK = ({ ties = "lower-slot" }: TopKOptions = {}): Selector =>
  Object.freeze<Selector>({
    name: "top-k",
    select: (encoder, batch, scores, counts) => recordTopK(encoder, batch, scores, counts, ties),
  });
