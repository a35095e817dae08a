import type { CompressionLifecycle } from "./compression-lifecycle.ts";
import { isOutOfBlocks, tooLargeForCache } from "./out-of-blocks.ts";
import { firstShort, fits } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";
import type { StepTools } from "./step-tools.ts";

/** Who gets blocks: those who run first, then those who wait. */
export interface BlockSupply {
  /**
   * Sees to it that every running sequence gets the blocks that its next tokens take: from resting
   * sessions, by compression, from the least urgent, in this order.
   */
  makeRoom(): Promise<void>;
  /** Lets waiting sequences in, most urgent first, while slots and blocks really are there. */
  admit(): void;
}

export interface SupplyLimits {
  readonly maxSequences: number;
  /** Blocks per arena that admission leaves to those who decode. */
  readonly watermark: readonly number[];
}

export function createBlockSupply(
  { runtime, roster, account, fail }: StepTools,
  lifecycle: CompressionLifecycle,
  { maxSequences, watermark }: SupplyLimits,
): BlockSupply {
  const { cache } = runtime;

  const isPromised = (sequence: Sequence) => sequence.reserved && !sequence.decoding;
  const needed = (sequence: Sequence): readonly number[] =>
    isPromised(sequence)
      ? []
      : cache.blocksToAppend(sequence.slot!, sequence.goal - sequence.cached);

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

  const widthOf = (sequences: readonly Sequence[]) =>
    sequences.reduce((total, { width }) => total + width, 0);

  /** Whether the cache has slots for the head of the queue and whoever forks from it. */
  function hasSlots(head: Sequence): boolean {
    const unforked = widthOf(roster.running) - roster.running.length;
    const taken = head.slot === undefined ? head.width : head.width - 1;
    return roster.numSlots + unforked + taken <= cache.maxSequences;
  }

  return {
    async makeRoom() {
      for (let short = findShort(); short; short = findShort()) {
        if (roster.reclaimIdle() || (await lifecycle.squeeze())) continue;
        // Alone, a sequence must find its blocks or fail.
        if (roster.running.length > 1 && roster.takeBack(roster.running)) continue;
        if (roster.running.includes(short)) fail(short, tooLargeForCache(short, account.totals));
      }
      for (const sequence of [...roster.running]) {
        // A decoding sequence takes its block in this step anyway, unless newcomers come before it.
        if (sequence.decoding ? roster.waiting.length === 0 : sequence.reserved) continue;
        try {
          cache.reserve(sequence.slot!, sequence.goal - sequence.cached);
          sequence.reserved = true;
        } catch (error) {
          // It outgrew what one sequence may hold: its own error, nobody else's.
          fail(sequence, error);
        }
      }
    },

    admit() {
      // Whoever just lost blocks would only take them back.
      while (!roster.relieved && roster.waiting.length > 0) {
        const head = roster.waiting[0]!;
        const { running } = roster;
        if (running.length > 0 && widthOf(running) + head.width > maxSequences) return;
        try {
          if (!hasSlots(head) || !fits(roster.blocksToAdmit(head), spare()))
            throw tooLargeForCache(head, account.totals);
          roster.admit(head);
        } catch (error) {
          if (!isOutOfBlocks(error)) fail(head, error);
          else if (!roster.reclaimIdle(head)) {
            if (running.length > 0) return;
            fail(head, error);
          }
        }
      }
    },
  };
}
