import { type BudgetRequest, KvCacheError, targetTokens } from "@kvcache/core";

/**
 * Tokens of each row, at most, when a sequence's target is shared evenly: [rows]. Throws
 * `invalid-plan` when a target in tokens or bytes is below one token a row, or below the protected
 * tokens where those must stay; a ratio is always reachable.
 */
export function evenShare(request: BudgetRequest, keepProtected: boolean): Uint32Array {
  const { target, lengths, nextPosition, layout, protect } = request;
  const tokens = targetTokens(target, nextPosition, layout);
  const least = Math.max(1, keepProtected ? protect.sinks + protect.recent : 0);
  if (!("ratio" in target) && tokens < least)
    throw new KvCacheError(
      "invalid-plan",
      `${JSON.stringify(target)} leaves ${tokens} tokens a row where ${least} must stay.`,
      { value: target, remedy: "Give a larger budget or protect fewer tokens." },
    );
  return Uint32Array.from(lengths, (length) => Math.min(length, Math.max(tokens, least)));
}
