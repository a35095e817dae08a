import { targetTokens } from "@kvcache/core";
import type { DefensiveScoreParams } from "./defensive-score.ts";

/** Tokens that the target leaves a row beside the window, as if the window were no part of it. */
export function firstStageLimit(
  { batch, target, window }: Pick<DefensiveScoreParams, "batch" | "target" | "window">,
  next: number,
): number {
  if (target === undefined) return next;
  const ratio = "ratio" in target ? target.ratio : targetTokens(target, next, batch.layout) / next;
  return Math.max(0, Math.trunc((next - window) * ratio - window));
}
