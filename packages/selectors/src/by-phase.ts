import { type BudgetTarget, KvCacheError, type Selector, type Transform } from "@kvcache/core";

/** Selects with `prefill` when a prompt ends and with `decoding` later, for a target of its own. */
export const byPhase = (
  prefill: Selector,
  decoding: Selector,
  decodingTarget?: BudgetTarget | null,
): Selector =>
  Object.freeze<Selector>({
    name: "by-phase",
    needs: [...(prefill.needs ?? []), ...(decoding.needs ?? [])],
    select: (encoder, batch, scores, counts, target) =>
      batch.phase === "prefill"
        ? prefill.select(encoder, batch, scores, counts, target)
        : decoding.select(encoder, batch, scores, counts, decodingTarget ?? target),
  });

/**
 * Changes kept entries with `prefill` when a prompt ends and with `decoding` later; nothing where
 * neither does. Throws `invalid-plan` for one that renumbers positions: it would do so in both.
 */
export function transformByPhase(
  prefill: Transform | undefined,
  decoding: Transform | undefined,
): Transform | undefined {
  if (!prefill && !decoding) return undefined;
  const renumbering = [prefill, decoding].find((transform) => transform?.nextPosition);
  if (renumbering)
    throw new KvCacheError(
      "invalid-plan",
      `${renumbering.name} renumbers positions, which one phase alone cannot do.`,
      { value: renumbering.name, remedy: "Use its policy by itself." },
    );
  return Object.freeze<Transform>({
    name: "by-phase",
    apply: (encoder, batch, keep, scores) =>
      (batch.phase === "prefill" ? prefill : decoding)?.apply(encoder, batch, keep, scores),
  });
}
