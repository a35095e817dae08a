import type { CompressionPhase } from "@kvcache/core";
import { isOutOfBlocks } from "./out-of-blocks.ts";
import type { Sequence } from "./sequence.ts";
import type { StepTools } from "./step-tools.ts";

/** When running sequences are compressed, and what happens where that fails. */
export interface CompressionLifecycle {
  /** Compresses whoever finished a prompt or decoded a whole interval. */
  compressDue(): Promise<void>;
  /** Compresses whoever allows it under pressure; whether blocks came free. */
  squeeze(): Promise<boolean>;
}

export function createCompressionLifecycle(tools: StepTools): CompressionLifecycle {
  const { runtime, roster, account, prefixes, counters, whileBusy, fail } = tools;
  const { blockSize } = runtime.cache.layout.arenas[0]!;

  /** Compresses sequences of one policy together; trouble is narrowed down to the one that has it. */
  async function compress(group: readonly Sequence[], phase: CompressionPhase): Promise<void> {
    const running = group.filter((sequence) => roster.running.includes(sequence));
    const [first] = running;
    if (!first) return;
    // Whoever is aborted meanwhile may be at its next turn already.
    const choices = running.map(({ choice }) => choice);
    const isSame = (sequence: Sequence, i: number) => sequence.choice === choices[i];
    const policy = first.plan.policy!;
    const target = first.plan.target!;
    try {
      await whileBusy(() => runtime.compress(running, { policy, target, phase }));
    } catch (error) {
      if (running.length > 1) {
        for (const sequence of running) await compress([sequence], phase);
        return;
      }
      if (!isSame(first, 0)) return;
      if (!isOutOfBlocks(error)) return fail(first, error);
      if (phase === "pressure") return;
      const others = roster.running.filter((other) => other !== first);
      if (await whileBusy(() => roster.takeBack(others))) return compress(running, phase);
      return fail(first, error);
    }
    for (const sequence of running.filter(isSame)) {
      const event = sequence.compressions.at(-1)!;
      counters.compressions++;
      counters.evictedEntries += event.entriesBefore - event.entriesAfter;
      if (phase === "prefill" && roster.running.includes(sequence))
        prefixes.publishCompressed(sequence);
    }
  }

  /** Worth compressing under pressure: it decodes, and a block's worth of its tokens is new. */
  function isSqueezable(sequence: Sequence): boolean {
    const { plan, cached, compressions, futileAt } = sequence;
    return (
      plan.trigger.pressure === true &&
      sequence.decoding &&
      futileAt !== cached &&
      cached - (compressions.at(-1)?.tokens ?? 0) >= blockSize
    );
  }

  return {
    async compressDue() {
      for (const phase of ["prefill", "decode"] as const) {
        const due = roster.running.filter((sequence) => sequence.due === phase);
        for (const group of byPlan(due)) await compress(group, phase);
      }
    },

    async squeeze() {
      const before = account.available();
      const squeezable = roster.running.filter(isSqueezable);
      for (const group of byPlan(squeezable)) await compress(group, "pressure");
      const freed = account.available().some((blocks, arena) => blocks > before[arena]!);
      if (!freed) for (const sequence of squeezable) sequence.futileAt = sequence.cached;
      return freed;
    },
  };
}

/**
 * Groups of sequences that can be compressed in one batch: the same policy object and target. Who
 * begins to gather attention sums is compressed alone.
 */
function byPlan(sequences: readonly Sequence[]): Sequence[][] {
  const groups: Sequence[][] = [];
  for (const sequence of sequences) {
    const { policy, target } = sequence.plan;
    const begins = (one: Sequence) => one.plan.sums !== undefined && one.sums === "none";
    const group = groups.find(
      ([first]) =>
        !begins(first!) &&
        !begins(sequence) &&
        first!.plan.policy === policy &&
        JSON.stringify(first!.plan.target) === JSON.stringify(target),
    );
    if (group) group.push(sequence);
    else groups.push([sequence]);
  }
  return groups;
}
