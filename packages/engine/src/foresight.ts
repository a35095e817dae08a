import { type CacheLayout, numRows } from "@kvcache/core";
import type { BlockAccount } from "./block-account.ts";
import type { Sequence } from "./sequence.ts";

/** What sequences are expected to hold when they end, so that admission leaves room for it. */
export interface Foresight {
  /** Blocks per arena at the end of a sequence: an upper bound by its policy, a guess at its length. */
  atEnd(sequence: Sequence): readonly number[];
  /** An answer ended after so many tokens. */
  ended(tokens: number): void;
}

/** Tokens of an answer before any has ended. */
const firstGuess = 256;

export function createForesight(layout: CacheLayout, account: BlockAccount): Foresight {
  const { blockSize } = layout.arenas[0]!;
  const total = numRows(layout.shape);
  const ownRows = account.rows.reduce((a, b) => a + b, 0);
  /** Moving mean of the lengths of answers. */
  let usual: number | undefined;

  /** Tokens that the choices of a sequence still take beyond what is known of it. */
  function tokensAtEnd({ choice, promptLength, tokens }: Sequence): number {
    if (!choice) return tokens.length;
    const generated = tokens.length - promptLength;
    const guess = choice.runsToTheEnd
      ? choice.maxTokens
      : Math.max(usual ?? firstGuess, generated + blockSize);
    return promptLength + Math.min(choice.maxTokens, Math.ceil(guess));
  }

  /** Tokens that all rows together keep of `seen` at most; undefined where no budget says. */
  function kept({ plan }: Sequence, seen: number): number | undefined {
    const { policy, target } = plan;
    if (!policy || !target) return undefined;
    const lengths = new Uint32Array(total).fill(seen);
    const { protect } = policy;
    try {
      return policy.budget.resolve({ target, lengths, nextPosition: seen, layout, protect });
    } catch {
      // The event itself will say so.
      return undefined;
    }
  }

  function count(sequence: Sequence, end: number): readonly number[] {
    const { policy } = sequence.plan;
    const full = account.forTokens(end, 1);
    const { interval, pressure = false, prefill = false } = sequence.plan.trigger;
    if (!policy || policy.readSelector || !(prefill || interval || pressure)) return full;
    const repeats = interval !== undefined || pressure;
    const seen = repeats ? end : Math.min(end, sequence.compressAfter);
    const tokens = kept(sequence, seen);
    if (tokens === undefined) return full;
    const growth = repeats ? Math.min(end, interval ?? blockSize) : end - seen;
    // Each row grows until the next event, and all but one slot of its last block may be empty.
    const perRow = tokens / ownRows + growth + blockSize - 1;
    return full.map((blocks, arena) =>
      Math.min(blocks, Math.ceil((account.rows[arena]! * perRow) / blockSize)),
    );
  }

  return {
    atEnd(sequence) {
      const end = tokensAtEnd(sequence);
      if (sequence.foreseen?.tokens !== end)
        sequence.foreseen = { tokens: end, blocks: count(sequence, end) };
      const { blocks } = sequence.foreseen;
      if (sequence.width === 1) return blocks;
      const others = account.forTokens(end - sequence.promptLength, 1);
      return blocks.map((own, arena) => own + (sequence.width - 1) * others[arena]!);
    },
    ended(tokens) {
      usual = usual === undefined ? tokens : usual + 0.1 * (tokens - usual);
    },
  };
}
