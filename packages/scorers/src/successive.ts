import {
  type BudgetTarget,
  defineKernel,
  type Encoder,
  type EvictionPolicy,
  hostArray,
  type KeepSet,
  type KvBatch,
  KvCacheError,
  type Protect,
  type Scorer,
  type Tensor,
} from "@kvcache/core";
import { createHostEncoder, partBatch, protectScores, scorePart } from "@kvcache/kernels";
import { joinScorers } from "./joined-scorers.ts";

/** Of tokens that an earlier policy evicted: below every other score. */
const lowest = -3.4028234663852886e38;

/**
 * The scores that the last policy gives to what the others leave, each of which keeps `multiples[i]`
 * times the event's target, or twice what the next one does; evicted tokens score lowest of all.
 * Without a target, the last policy's own scores. It runs where the cache lives in host memory.
 * Throws `invalid-argument` for an empty list or multiples that do not fall to 1, and `invalid-plan`
 * when a policy but the last would change the entries that it keeps, or takes no target.
 */
export function successive(
  policies: readonly EvictionPolicy[],
  given?: readonly number[] | null,
): Scorer {
  const last = policies.length - 1;
  const multiples = given ?? policies.slice(1).map((_, i) => 2 ** (last - i));
  check(policies, multiples);
  const { viewOf, ...joined } = joinScorers(policies.map(({ scorer }) => scorer));
  const kernel = defineKernel<{
    readonly batch: KvBatch;
    readonly keep: KeepSet;
    readonly out: Tensor;
    readonly target: BudgetTarget;
  }>({
    name: `successive:${policies.map(({ name }) => name).join(",")}`,
    reference({ batch, keep, out, target }) {
      const indptr = hostArray(batch.rowIndptr, "u32");
      let slots = rowsOf(keep);
      for (let stage = 1; stage < last; stage++) {
        const part = partBatch({ ...viewOf(batch, stage), protect: protectAt(stage) }, slots);
        const encoder = createHostEncoder();
        const kept = rowsOf(survivors(encoder, part, policies[stage]!, targetAt(stage, target)));
        slots = slots.map((own, row) => kept[row]!.map((j) => own[j]!));
      }
      const part = scorePart(policies[last]!.scorer, viewOf(batch, last), slots, target);
      const scores = hostArray(out, "f32").fill(lowest);
      slots.forEach((own, row) => {
        own.forEach((slot, j) => {
          scores[indptr[row]! + slot] = part.scores[part.indptr[row]! + j]!;
        });
      });
    },
  });
  const targetAt = (stage: number, target: BudgetTarget) => times(target, multiples[stage]!);
  /** What the last policy protects, no earlier one evicts. */
  const protectAt = (stage: number): Protect => {
    const [own, final] = [policies[stage]!.protect, policies[last]!.protect];
    return {
      sinks: Math.max(own.sinks, final.sinks),
      recent: Math.max(own.recent, final.recent),
    };
  };
  return Object.freeze<Scorer>({
    name: "successive",
    options: {
      multiples,
      policies: policies.map(({ name, options, protect }) => [name, options, protect]),
    },
    ...joined,
    needs: [
      ...joined.needs,
      ...policies
        .slice(0, last)
        .flatMap(({ budget, selector }) => [...budget.needs, ...(selector.needs ?? [])]),
    ],
    score(encoder, batch, out, target) {
      if (!target || last === 0)
        return policies[last]!.scorer.score(encoder, viewOf(batch, last), out, target);
      const first = { ...viewOf(batch, 0), protect: protectAt(0) };
      const keep = survivors(encoder, first, policies[0]!, targetAt(0, target));
      encoder.run(kernel, { batch, keep, out, target });
    },
  });
}

function check(policies: readonly EvictionPolicy[], multiples: readonly number[]): void {
  const falls = multiples.every((multiple, i) => multiple >= (multiples[i + 1] ?? 1));
  if (policies.length === 0 || multiples.length !== policies.length - 1 || !falls)
    throw new KvCacheError(
      "invalid-argument",
      `${policies.length} policies take ${Math.max(0, policies.length - 1)} multiples that fall to 1.`,
      { value: multiples, remedy: "For two policies write [2] to halve the cache twice." },
    );
  const changing = policies.slice(0, -1).find(({ transform }) => transform);
  if (changing)
    throw new KvCacheError(
      "invalid-plan",
      `Policy ${changing.name} changes what it keeps, so it can only come last.`,
      { value: changing.name },
    );
  const fixed = policies.slice(0, -1).find(({ budget }) => budget.withoutTarget !== undefined);
  if (fixed)
    throw new KvCacheError(
      "invalid-plan",
      `Policy ${fixed.name} keeps no multiple of a target: ${fixed.budget.withoutTarget}.`,
      { value: fixed.name, remedy: "Let policies that take a target come before the last." },
    );
}

function times(target: BudgetTarget, multiple: number): BudgetTarget {
  if ("ratio" in target) return { ratio: Math.min(1, target.ratio * multiple) };
  if ("tokens" in target) return { tokens: Math.ceil(target.tokens * multiple) };
  return { bytes: Math.ceil(target.bytes * multiple) };
}

/** Records what a policy keeps of a batch. */
function survivors(
  encoder: Encoder,
  batch: KvBatch,
  { scorer, budget, selector }: EvictionPolicy,
  target: BudgetTarget,
): KeepSet {
  const scores = encoder.tensor("f32", batch.totalSlots);
  scorer.score(encoder, batch, scores, target);
  encoder.run(protectScores, { batch, scores });
  const counts = encoder.tensor("u32", batch.numRows);
  budget.allocate(encoder, { batch, target, scores }, counts);
  return selector.select(encoder, batch, scores, counts, target);
}

/** The kept slots of each row. */
function rowsOf({ indptr, indices }: KeepSet): Uint32Array[] {
  const starts = hostArray(indptr, "u32");
  const slots = hostArray(indices, "u32");
  return Array.from({ length: starts.length - 1 }, (_, row) =>
    slots.slice(starts[row]!, starts[row + 1]!),
  );
}
