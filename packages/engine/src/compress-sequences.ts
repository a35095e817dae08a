import {
  type BudgetTarget,
  type CacheManager,
  type CompressionPhase,
  type EvictionPolicy,
  sum,
} from "@kvcache/core";
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
    if (!sequence.plan.sharesBlocks) cache.unshare(sequence.slot!);
  }

  const slots = sequences.map(({ slot }) => slot!);
  const batch = cache.batch(slots, {
    protect: policy.protect,
    phase,
    observers: sequences.map(({ observer }) => observer),
    model: view,
  });
  const encoder = session.encoder();
  const { keep } = recordCompression(encoder, batch, policy, target);
  await encoder.submit();
  await cache.compact(encoder, batch, keep);

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

/** A transform that moved the kept entries to other positions says where the sequence goes on. */
function renumber(cache: CacheManager, slot: number, { transform }: EvictionPolicy): void {
  if (!cache.host || !transform?.nextPosition) return;
  const { lengths, nextPosition } = cache.sequenceStats(slot);
  cache.host.nextPositions[slot] = transform.nextPosition(Math.max(...lengths), nextPosition);
}
