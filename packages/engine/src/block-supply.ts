import type { KvCacheError } from "@kvcache/core";
import type { CompressionLifecycle } from "./compression-lifecycle.ts";
import type { Foresight } from "./foresight.ts";
import { isOutOfBlocks, outOfBlocks, shortOfBlocks } from "./out-of-blocks.ts";
import { firstShort, fits, nextToAdmit } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";
import type { StepTools } from "./step-tools.ts";

/** Who gets blocks: those who run first, then those who wait. */
export interface BlockSupply {
  /**
   * Sees to it that every running sequence gets the blocks that its next tokens take: from resting
   * sessions, by compression, from the least urgent, in this order.
   */
  makeRoom(): Promise<void>;
  /**
   * Lets waiting sequences in, most urgent first, while slots and blocks really are there and the
   * prompts that run do not take all of a step's `promptTokens` already.
   */
  admit(promptTokens: number): Promise<void>;
}

export interface SupplyLimits {
  readonly maxSequences: number;
  /** Undefined: whoever fits now is let in. */
  readonly foresight: Foresight | undefined;
  /** Blocks per arena that admission leaves to those who decode. */
  readonly watermark: readonly number[];
}

export function createBlockSupply(
  { runtime, roster, account, whileBusy, fail }: StepTools,
  lifecycle: CompressionLifecycle,
  { maxSequences, foresight, watermark }: SupplyLimits,
): BlockSupply {
  const { cache } = runtime;

  const reclaimIdle = (except?: Sequence) => whileBusy(() => roster.reclaimIdle(except));
  const takeBack = (from: readonly Sequence[], except?: Sequence) =>
    whileBusy(() => roster.takeBack(from, except));
  const isPromised = (sequence: Sequence) => sequence.reserved && !sequence.decoding;
  const needed = (sequence: Sequence): readonly number[] =>
    isPromised(sequence)
      ? []
      : cache.blocksToAppend(
          sequence.slot!,
          sequence.goal - sequence.cached,
          runtime.maxBatchTokens,
        );

  /** The most urgent sequence without blocks for its next tokens. */
  function findShort(): Sequence | undefined {
    const available = account.available();
    const { running } = roster;
    const atMost = account.rows.map((rows) => rows * running.length);
    const plenty =
      fits(atMost, available) && running.every((one) => one.decoding || isPromised(one));
    return plenty ? undefined : firstShort(running, available, needed);
  }

  /** Blocks that newcomers may take. */
  function spare(): number[] {
    const available = account.available();
    if (roster.running.length === 0) return available;
    return available.map((blocks, arena) => blocks - watermark[arena]!);
  }

  /**
   * Blocks per arena that a running sequence is expected to take beyond those it has (below 0: to
   * give back) by its end.
   */
  function outlook(sequence: Sequence): number[] {
    const atEnd = foresight!.atEnd(sequence);
    const { slot, prefillOpen, reusedTokens } = sequence;
    const held = account.forLengths(cache.sequenceStats(slot!).lengths);
    if (!prefillOpen) return atEnd.map((blocks, arena) => Math.max(0, blocks - held[arena]!));
    // Promised blocks are not available, those of others do not come free.
    const promised = needsOf(sequence);
    const shared = account.forTokens(reusedTokens);
    return atEnd.map(
      (blocks, arena) => blocks - (held[arena]! + promised[arena]! - shared[arena]!),
    );
  }

  const needsOf = ({ slot, goal, cached }: Sequence) =>
    cache.blocksToAppend(slot!, goal - cached, runtime.maxBatchTokens);

  /** Whether there will be room for all who run and for one more, as far as can be foreseen. */
  function hasFuture(head: Sequence): boolean {
    const { running } = roster;
    if (!foresight || running.length === 0) return true;
    const left = account.available();
    for (const sequence of running)
      outlook(sequence).forEach((blocks, arena) => {
        left[arena]! -= blocks;
      });
    const now = roster.blocksToAdmit(head);
    const reused = account.forTokens(head.goal).map((blocks, arena) => blocks - now[arena]!);
    // Shared blocks serve as long as nothing is evicted from them.
    const spared = head.prefillOpen ? [] : reused;
    const atEnd = foresight.atEnd(head);
    return fits(
      atEnd.map((blocks, arena) => Math.max(0, blocks - (spared[arena] ?? 0))),
      left,
    );
  }

  const widthOf = (sequences: readonly Sequence[]) =>
    sequences.reduce((total, { width }) => total + width, 0);

  /** Whether the cache has slots for the head of the queue and whoever forks from it. */
  function hasSlots(head: Sequence): boolean {
    const unforked = widthOf(roster.running) - roster.running.length;
    const taken = head.slot === undefined ? head.width : head.width - 1;
    return roster.numSlots + unforked + taken <= cache.maxSequences;
  }

  /** Blocks that a waiting sequence takes where it can share none. */
  const blocksUnshared = (head: Sequence): readonly number[] =>
    head.slot === undefined && !head.swapped
      ? account.forTokens(head.goal)
      : roster.blocksToAdmit(head);

  /** Why a sequence cannot get `more` blocks: there are none now, or never. */
  function shortage(sequence: Sequence, more: readonly number[]): KvCacheError {
    const { slot } = sequence;
    const held = slot === undefined ? [] : account.forLengths(cache.sequenceStats(slot).lengths);
    const wanted = more.map((blocks, arena) => blocks + (held[arena] ?? 0));
    return shortOfBlocks(sequence, wanted, account.totals);
  }

  /** Gives a sequence blocks of its own, which others make room for like for anything else. */
  async function own(sequence: Sequence): Promise<void> {
    while (roster.running.includes(sequence))
      try {
        return await whileBusy(() => runtime.ownBlocks(sequence));
      } catch (error) {
        const others = roster.running.filter((other) => other !== sequence);
        if (isOutOfBlocks(error) && (await takeBack(others))) continue;
        return fail(sequence, error);
      }
  }

  return {
    async makeRoom() {
      for (let short = findShort(); short; short = findShort()) {
        if ((await reclaimIdle()) || (await lifecycle.squeeze())) continue;
        // Alone, a sequence must find its blocks or fail.
        if (roster.running.length > 1 && (await takeBack(roster.running))) continue;
        if (roster.running.includes(short)) fail(short, shortage(short, needsOf(short)));
      }
      for (const sequence of [...roster.running]) if (sequence.mustOwnBlocks) await own(sequence);
      for (const sequence of [...roster.running]) {
        // A decoding sequence takes its block in this step anyway, unless newcomers come before it.
        if (sequence.decoding ? roster.waiting.length === 0 : sequence.reserved) continue;
        try {
          const tokens = sequence.goal - sequence.cached;
          cache.reserve(sequence.slot!, tokens, runtime.maxBatchTokens);
          sequence.reserved = true;
        } catch (error) {
          // It outgrew what one sequence may hold: its own error, nobody else's.
          fail(sequence, error);
        }
      }
    },

    async admit(promptTokens) {
      // Whoever just lost blocks would only take them back.
      while (!roster.relieved) {
        const { running } = roster;
        const head = nextToAdmit(roster.waiting, running, promptTokens);
        if (!head) return;
        const lower = running.filter(({ priority }) => priority < head.priority);
        if (running.length > 0 && widthOf(running) + head.width > maxSequences) {
          if (lower.length === 0 || !(await takeBack(lower, head))) return;
          continue;
        }
        try {
          if (!hasSlots(head) || !fits(roster.blocksToAdmit(head), spare()))
            throw outOfBlocks(head);
          if (lower.length === 0 && !hasFuture(head)) {
            if (await reclaimIdle(head)) continue;
            return;
          }
          roster.admit(head);
        } catch (error) {
          if (!isOutOfBlocks(error)) fail(head, error);
          // Alone, it may have to give up what it kept of its last turn.
          else if (!(await takeBack(lower, running.length > 0 ? head : undefined))) {
            if (running.length > 0) return;
            fail(head, shortage(head, blocksUnshared(head)));
          }
        }
      }
    },
  };
}
