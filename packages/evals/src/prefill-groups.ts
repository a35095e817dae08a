import { type Signal, signalsOf } from "@kvcache/core";
import type { EvalVariant } from "./variant.ts";

/** Signals that change what the cache holds beside its entries: such policies do not mix. */
const alone: readonly Signal["kind"][] = ["attentionSums", "replay"];

/**
 * Variants that one prefill serves. Policies that read attention sums or replay the prompt have a
 * prefill of their own, all their budgets together; the full cache goes with the first group.
 */
export function prefillGroups(variants: readonly EvalVariant[]): EvalVariant[][] {
  const groups = new Map<unknown, EvalVariant[]>();
  for (const variant of variants) {
    const policy = variant.eviction?.policy;
    const needs = policy ? signalsOf(policy) : [];
    const key = needs.some(({ kind }) => alone.includes(kind)) ? policy : "together";
    const group = groups.get(key);
    if (group) group.push(variant);
    else groups.set(key, [variant]);
  }
  return [...groups.values()];
}
