import { type BudgetRequest, sum } from "@kvcache/core";
import { evenShare } from "../uniform-counts/even-share.ts";

/**
 * Tokens that all rows of a sequence keep together, at most, where one row may get what another
 * cannot use. Throws `invalid-plan` like {@link evenShare}.
 */
export function sharedTotal(request: BudgetRequest): number {
  const endless = request.lengths.map(() => 0xffffffff);
  return Math.min(sum(request.lengths), sum(evenShare({ ...request, lengths: endless }, true)));
}
