import { assert, type CacheManager, KvCacheError, type SwapSpace, sum } from "@kvcache/core";
import type { BlockAccount } from "./block-account.ts";
import type { EngineCounters } from "./engine-stats.ts";
import type { KvUsage } from "./generation-event.ts";
import type { PrefixReuse } from "./prefix-reuse.ts";
import { byUrgency } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";
import type { Trace } from "./trace.ts";

export interface RosterTools {
  readonly cache: CacheManager;
  readonly account: BlockAccount;
  readonly prefixes: PrefixReuse;
  readonly counters: EngineCounters;
  readonly trace: Trace | undefined;
  readonly swap: SwapSpace;
  /** Tokens that a sequence is fed at once at most. */
  readonly maxBatchTokens: number;
}

/**
 * Who is waiting, who runs and which sessions rest; the only place where sequences get cache slots
 * and give them back. Call it while no step runs, and what returns a promise so that nobody else
 * touches the cache meanwhile (`whileBusy`).
 */
export class Roster {
  /** Most urgent first. A session's next turn may wait while it still holds its slot. */
  readonly waiting: Sequence[] = [];
  /** Those whose prefixes are on their way into the cache: they will wait next. */
  readonly arriving = new Set<Sequence>();
  readonly running: Sequence[] = [];
  /** Sequences of sessions between two turns, longest rest first. */
  readonly idle: Sequence[] = [];
  /** Whether somebody who ran lost its slot in this step. */
  relieved = false;
  readonly #tools: RosterTools;

  constructor(tools: RosterTools) {
    this.#tools = tools;
  }

  /** Slots taken, resting sessions included. */
  get numSlots(): number {
    const holding = this.waiting.filter(({ slot }) => slot !== undefined).length;
    return this.running.length + this.idle.length + holding;
  }

  /** arriving → waiting, unless the sequence is gone. */
  arrive(sequence: Sequence): void {
    if (this.arriving.delete(sequence)) this.wait(sequence);
  }

  wait(sequence: Sequence): void {
    remove(this.idle, sequence);
    const at = this.waiting.findIndex((other) => byUrgency(sequence, other) < 0);
    this.waiting.splice(at < 0 ? this.waiting.length : at, 0, sequence);
  }

  /** Blocks per arena that admitting a waiting sequence takes. */
  blocksToAdmit(sequence: Sequence): readonly number[] {
    const { cache, account, prefixes, maxBatchTokens } = this.#tools;
    const { slot, swapped, cached, goal } = sequence;
    if (slot !== undefined) return cache.blocksToAppend(slot, goal - cached, maxBatchTokens);
    if (swapped) {
      const back = account.forLengths(swapped.lengths);
      return account.forTokens(goal - cached).map((blocks, arena) => blocks + back[arena]!);
    }
    const shared = account.forTokens(prefixes.reusable(sequence));
    return account.forTokens(goal).map((blocks, arena) => blocks - shared[arena]!);
  }

  /**
   * waiting → running: takes a slot, fills it with what is reusable and reserves room up to the
   * sequence's goal. Throws `out-of-blocks` and changes nothing where that is impossible.
   */
  admit(sequence: Sequence): void {
    const { cache, prefixes, trace, counters, maxBatchTokens } = this.#tools;
    const { swapped } = sequence;
    const held = sequence.slot;
    const slot = held ?? (swapped ? cache.importSequence(swapped.bytes.read()) : cache.open());
    let { cached, position } = sequence;
    try {
      if (cache.sequenceStats(slot).nextPosition > position) cache.truncate(slot, position);
      let { goal } = sequence;
      const prefix = cached === 0 ? prefixes.adopt(sequence, slot) : undefined;
      if (prefix?.compression) goal = sequence.tokens.length;
      if (prefix) cached = prefix.tokens;
      cache.reserve(slot, goal - cached, maxBatchTokens);
      if (prefix) position = cache.sequenceStats(slot).nextPosition;
      if (prefix?.compression) sequence.compressedTo(prefix.compression, position);
    } catch (error) {
      // A slot that the sequence held before stays with it, as empty as it has become.
      if (held === undefined) cache.close(slot);
      throw error;
    }
    remove(this.waiting, sequence);
    sequence.enter(slot, cached, position);
    sequence.reserved = true;
    this.running.push(sequence);
    const generation = sequence.choice?.generation;
    if (generation?.startedAt === undefined) {
      sequence.reusedTokens = cached;
      counters.promptTokens += sequence.promptLength;
      counters.cachedPromptTokens += cached;
    }
    if (generation && generation.startedAt === undefined) {
      generation.startedAt = performance.now();
      generation.cachedTokens = cached;
    }
    trace?.write({
      type: "admit",
      sequence: sequence.id,
      slot,
      tokens: sequence.tokens.length,
      reused: cached,
    });
  }

  /**
   * A copy of a running sequence, for another choice; where no block is left it waits its turn.
   * Throws `out-of-blocks` where it cannot even wait.
   */
  async fork(parent: Sequence, child: Sequence): Promise<void> {
    const { cache, trace } = this.#tools;
    const forked = { type: "fork", sequence: child.id, parent: parent.id } as const;
    const room = this.running.length < cache.maxSequences && this.numSlots < cache.maxSequences;
    const { slot, swapped } = parent;
    if (slot !== undefined && room) {
      const own = cache.fork(slot);
      child.enter(own, parent.cached, parent.position);
      this.running.push(child);
      trace?.write({ ...forked, slot: own });
      return;
    }
    if (!parent.compressed) child.leave();
    else {
      const bytes = swapped?.bytes.read() ?? (await cache.exportSequence(slot!));
      const lengths = swapped?.lengths ?? cache.sequenceStats(slot!).lengths;
      const kept = this.#tools.swap.store(bytes);
      if (!kept) throw swapIsFull(this.#tools.swap, bytes.length);
      child.leave({ bytes: kept, lengths });
    }
    trace?.write(forked);
    this.wait(child);
  }

  /**
   * running or idle → without a slot. What was compressed is swapped out, for feeding its tokens
   * again would keep others; the rest is fed again. False, and nothing happens, without room to
   * swap.
   */
  async preempt(sequence: Sequence): Promise<boolean> {
    const { cache, counters, trace, swap } = this.#tools;
    const { slot, compressed } = sequence;
    assert(slot !== undefined, `Sequence ${sequence.id} holds nothing to preempt.`);
    this.#notePeak(sequence);
    if (compressed) {
      const bytes = swap.store(await cache.exportSequence(slot));
      if (!bytes) return false;
      sequence.leave({ bytes, lengths: cache.sequenceStats(slot).lengths });
    } else sequence.leave();
    cache.close(slot);
    const by = compressed ? "swap" : "recompute";
    if (remove(this.running, sequence)) {
      counters.preemptions[by]++;
      this.wait(sequence);
    } else {
      remove(this.idle, sequence);
      counters.idleReclaims++;
    }
    trace?.write({ type: "preempt", sequence: sequence.id, by });
    return true;
  }

  /** Takes the slot of somebody who does not run right now; false where nobody has one. */
  async reclaimIdle(except?: Sequence): Promise<boolean> {
    const holding = this.waiting.filter(({ slot }) => slot !== undefined);
    return (
      (await this.#preemptFirst(this.idle)) ||
      (await this.#preemptOneOf(holding.filter((other) => other !== except)))
    );
  }

  /** What the sequence's cache holds now. */
  kvUsage(sequence: Sequence): KvUsage {
    this.#notePeak(sequence);
    const { slot, cached, bytesPeak, compressions } = sequence;
    const stats = slot === undefined ? undefined : this.#tools.cache.sequenceStats(slot);
    return {
      tokensSeen: cached,
      tokensKept: stats ? sum(stats.lengths) / sum(this.#tools.account.rows) : 0,
      bytesPeak,
      bytesNow: stats?.residentBytes ?? 0,
      compressions: compressions.length,
    };
  }

  /** Takes the slot of the least urgent candidate; somebody's who does not run comes first. */
  async takeBack(candidates: readonly Sequence[], except?: Sequence): Promise<boolean> {
    if (await this.reclaimIdle(except)) return true;
    if (!(await this.#preemptOneOf(candidates))) return false;
    this.relieved = true;
    return true;
  }

  /** The least urgent that can go. */
  #preemptOneOf(candidates: readonly Sequence[]): Promise<boolean> {
    return this.#preemptFirst([...candidates].sort((a, b) => byUrgency(b, a)));
  }

  async #preemptFirst(candidates: readonly Sequence[]): Promise<boolean> {
    for (const one of [...candidates]) if (await this.preempt(one)) return true;
    return false;
  }

  /** The end of a sequence, or of a session's turn: `rest` keeps its slot for the next one. */
  release(sequence: Sequence, reason: "done" | "aborted" | "failed", rest: boolean): void {
    const { cache, trace } = this.#tools;
    remove(this.running, sequence);
    remove(this.waiting, sequence);
    remove(this.idle, sequence);
    this.arriving.delete(sequence);
    trace?.write({ type: "finish", sequence: sequence.id, reason });
    sequence.choice = undefined;
    const { slot } = sequence;
    if (!rest) {
      sequence.finish();
      if (slot !== undefined) cache.close(slot);
    } else if (slot !== undefined) {
      cache.reserve(slot, 0);
      sequence.rest();
      this.idle.push(sequence);
    }
  }

  #notePeak(sequence: Sequence): void {
    if (sequence.slot === undefined) return;
    const { residentBytes } = this.#tools.cache.sequenceStats(sequence.slot);
    sequence.bytesPeak = Math.max(sequence.bytesPeak, residentBytes);
  }
}

const swapIsFull = ({ bytes, maxBytes }: SwapSpace, needed: number) =>
  new KvCacheError(
    "out-of-blocks",
    `${needed} bytes do not fit the swap space: it holds ${bytes} of ${maxBytes}.`,
    { value: needed, remedy: "Give the engine more swap space, or the cache more memory." },
  );

/** Removes an item in place; whether it was there. */
function remove<T>(items: T[], item: T): boolean {
  const at = items.indexOf(item);
  if (at >= 0) items.splice(at, 1);
  return at >= 0;
}
