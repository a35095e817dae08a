import {
  assert,
  type BudgetTarget,
  type CacheManager,
  type CompressionPhase,
  type Encoder,
  type EvictionPolicy,
  type KvBatch,
  sum,
} from "@kvcache/core";
import { scaleSums } from "@kvcache/kernels";
import { recordCompression } from "./compression.ts";
import { type ReplayTools, runReplay } from "./replay.ts";
import type { Sequence } from "./sequence.ts";
import type { Trace } from "./trace.ts";

export interface CompressionTools extends ReplayTools {
  readonly trace: Trace | undefined;
}

export interface CompressionRequest {
  readonly policy: EvictionPolicy;
  readonly target: BudgetTarget;
  readonly phase: CompressionPhase;
}

/**
 * One compression event over sequences of one policy: all their rows in one batch, then compaction.
 * Either all of them are compressed or none (`out-of-blocks` without room to copy shared blocks;
 * whatever a policy part throws for a target it cannot reach).
 *
 * A sequence that gathered no sums yet may score in blocks that it shares: whoever shares them has
 * gathered none either, so their side buffers are scratch paper, and what is kept is moved out of
 * them. Two such sequences must not stand in one event: they might share the paper.
 */
export async function compressSequences(
  tools: CompressionTools,
  sequences: readonly Sequence[],
  { policy, target, phase }: CompressionRequest,
): Promise<void> {
  const { cache, session, view, trace } = tools;
  const began = performance.now();
  const entriesBefore = sequences.map((sequence) => {
    const { lengths, nextPosition, residentBytes } = cache.sequenceStats(sequence.slot!);
    sequence.bytesPeak = Math.max(sequence.bytesPeak, residentBytes);
    const { layout } = cache;
    // Throws here, for the right sequence, what allocating would throw for the whole batch.
    policy.budget.resolve({ target, lengths, nextPosition, layout, protect: policy.protect });
    return sum(lengths);
  });
  for (const sequence of sequences) {
    const { replay } = sequence.plan;
    if (replay) await runReplay(sequence, replay, phase, tools);
    // A transform changes kept entries where they are.
    if (policy.transform || sequence.sums === "shared") cache.unshare(sequence.slot!);
  }

  const slots = sequences.map(({ slot }) => slot!);
  const batch = cache.batch(slots, {
    protect: policy.protect,
    phase,
    observers: sequences.map(({ observer }) => observer),
    model: view,
  });
  const encoder = session.encoder();
  const sums = sequences[0]?.plan.sums;
  const begins = sums !== undefined && sequences.some((sequence) => sequence.sums === "none");
  assert(!begins || sequences.length === 1, "Sequences begin to gather sums one by one.");
  if (begins) clearSums(encoder, batch, sums.powers);
  const { keep } = recordCompression(encoder, batch, policy, target);
  await encoder.submit();
  await cache.compact(encoder, batch, keep, { unshare: sums !== undefined });
  if (sums) for (const sequence of sequences) sequence.sums = "own";

  sequences.forEach((sequence, i) => {
    renumber(cache, sequence.slot!, policy);
    const { lengths, nextPosition } = cache.sequenceStats(sequence.slot!);
    const tokens = sequence.cached;
    sequence.compressedTo(
      { phase, tokens, entriesBefore: entriesBefore[i]!, entriesAfter: sum(lengths) },
      nextPosition,
    );
    if (!trace) return;
    const positions = trace.positionsOf(cache, sequence.slot!);
    trace.write({
      type: "compress",
      sequence: sequence.id,
      phase,
      policy: policy.name,
      tokens,
      kept: Array.from(lengths),
      ...(positions && { positions }),
      milliseconds: performance.now() - began,
    });
  });
}

/** The side buffers of a sequence that begins to gather hold what others left there. */
export function clearSums(encoder: Encoder, batch: KvBatch, powers: readonly (1 | 2)[]): void {
  for (const power of powers) encoder.run(scaleSums, { batch, power, factor: 0 });
}

/** A transform that moved the kept entries to other positions says where the sequence goes on. */
function renumber(cache: CacheManager, slot: number, { transform }: EvictionPolicy): void {
  if (!transform?.nextPosition) return;
  const { lengths, nextPosition } = cache.sequenceStats(slot);
  cache.renumber(slot, transform.nextPosition(Math.max(...lengths), nextPosition));
}
