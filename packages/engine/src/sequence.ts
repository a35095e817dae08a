import {
  assert,
  type CompressionPhase,
  type Observer,
  type PrefixPin,
  type SequenceSlot,
} from "@kvcache/core";
import type { Choice } from "./choice.ts";
import type { CompressionEvent } from "./compression-event.ts";
import type { Watched } from "./observe-pass.ts";
import type { BlockReads } from "./read-blocks.ts";
import type { Schedulable } from "./scheduler.ts";
import type { SequenceOptions } from "./sequence-options.ts";
import { type SequencePlan, sumFlags } from "./sequence-plan.ts";
import type { SessionState } from "./session.ts";
import type { Feed } from "./step-assembler.ts";
import type { SumsState } from "./sums-state.ts";
import type { SwappedOut } from "./swap-space.ts";
import { TokenLog } from "./token-log.ts";

/**
 * - `waiting`  holds no cache slot: new, or preempted
 * - `prefill`  feeds the prompt (again, after a preemption by recomputation)
 * - `decode`   feeds the token it sampled last
 * - `idle`     a session between two turns: keeps its entries, runs nothing
 * - `done`     gave everything back
 */
export type SequenceState = "waiting" | "prefill" | "decode" | "idle" | "done";

/**
 * A sequence's state machine: which tokens it knows, which of them are cached, what it may feed
 * next and when it is due for compression. It never touches the cache itself.
 */
export class Sequence implements Schedulable {
  readonly id: number;
  readonly plan: SequencePlan;
  readonly cacheSalt: string;
  readonly profiler: Observer | undefined;
  readonly #continues: boolean;
  arrival: number;
  priority: number;

  tokens = new TokenLog();
  /** Tokens of the log that were fed. */
  cached = 0;
  /** Position of the next token: `cached`, unless a transform renumbered the kept entries. */
  position = 0;
  /** Where the current turn's prompt ends and where its prefill is compressed, in tokens. */
  promptLength = 0;
  compressAfter = 0;
  /** Whether this turn's prefill compression is still to come. */
  prefillOpen = false;

  /** Who gets the tokens; a session between two turns has nobody. */
  choice: Choice | undefined;
  session: SessionState | undefined;
  /** Choices that will fork from this sequence when its prompt ends, itself included. */
  width = 1;

  /** What it is expected to hold at its end; see Foresight. */
  foreseen: { readonly tokens: number; readonly blocks: readonly number[] } | undefined;
  /** When its request gives up, as `performance.now()` tells. */
  deadline = Number.POSITIVE_INFINITY;
  /** How long what it publishes should outlive others. */
  pin: PrefixPin | undefined;

  slot: SequenceSlot | undefined;
  swapped: SwappedOut | undefined;
  /** Whether blocks for everything up to `goal` are promised (of a prefill; decoding takes its chance). */
  reserved = false;
  bytesPeak = 0;
  sums: SumsState = "none";
  /** Prompt tokens that this turn did not compute: from the prefix index or the session. */
  reusedTokens = 0;
  readonly compressions: CompressionEvent[] = [];
  /** What the plan's scorer gathered from the tokens that are cached. */
  observer: Observer | undefined;
  /** What the next step reads, where its policy selects that; whether a step read less than all. */
  reads: BlockReads | undefined;
  readPartly = false;
  /** Tokens that were cached when its replay passes ran; −1 before they did. */
  replayedAt = -1;
  /** Tokens seen at the last compression under pressure that gave nothing back. */
  futileAt = -1;
  #state: SequenceState = "waiting";

  constructor(options: SequenceOptions) {
    this.id = options.id;
    this.arrival = options.arrival;
    this.priority = options.priority;
    this.plan = options.plan;
    this.cacheSalt = options.cacheSalt;
    this.profiler = options.profiler;
    this.#continues = options.continues ?? false;
    this.observer = this.plan.createObserver?.();
  }

  get state(): SequenceState {
    if (this.#state !== "prefill") return this.#state;
    return this.decoding ? "decode" : "prefill";
  }

  /**
   * Whether anything was evicted or left unread, so that feeding the tokens again would not give
   * this cache.
   */
  get compressed(): boolean {
    if (this.readPartly) return true;
    return this.compressions.some(
      ({ entriesBefore, entriesAfter }) => entriesAfter < entriesBefore,
    );
  }

  /** Where feeding must stop: to be compressed, at the prompt's end, or for want of tokens. */
  get stop(): number {
    if (this.prefillOpen && this.cached < this.compressAfter) return this.compressAfter;
    return this.cached < this.promptLength ? this.promptLength : this.tokens.length;
  }

  get pending(): number {
    return this.stop - this.cached;
  }

  /** Where room must be found up to before the prefill starts. */
  get goal(): number {
    return this.prefillOpen && this.cached < this.compressAfter
      ? this.compressAfter
      : this.tokens.length;
  }

  /** Whether the next step reads only what its policy selects. */
  get selectsReads(): boolean {
    return this.plan.policy?.readSelector !== undefined && this.decoding;
  }

  get decoding(): boolean {
    return this.cached >= this.promptLength && this.tokens.length - this.cached === 1;
  }

  /** Whether its prompt is cached, compressed if that is due, and nobody wants a token of it. */
  get captured(): boolean {
    return (
      this.choice?.captures === true && this.cached === this.promptLength && this.due === undefined
    );
  }

  /** Whether a compression may still come that asks for what passes gather. */
  get mayCompress(): boolean {
    const { interval, pressure } = this.plan.trigger;
    return (
      this.prefillOpen ||
      interval !== undefined ||
      pressure === true ||
      this.session !== undefined ||
      this.#continues
    );
  }

  /** Signal flags of the tokens that are fed next. */
  get signalFlags(): number {
    const { plan, cached, promptLength } = this;
    const flags = cached < promptLength ? plan.prefillFlags : plan.decodeFlags;
    return this.mayCompress ? flags : flags & ~sumFlags;
  }

  /** Whether the next pass adds to sums in blocks that must be the sequence's own by then. */
  get mustOwnBlocks(): boolean {
    return this.sums !== "own" && (this.signalFlags & sumFlags) !== 0;
  }

  /** Who looks at the tokens that are fed next: nobody where no compression will ask for them. */
  get watched(): Watched | undefined {
    const { plan, observer, profiler } = this;
    const { protect = { sinks: 0, recent: 0 } } = plan.policy ?? {};
    if (!profiler && !(this.mayCompress && observer?.observe)) return undefined;
    const phase = this.cached < this.promptLength ? "prefill" : "decode";
    return { observer, profiler, signals: plan.chunkSignals, protect, phase };
  }

  /** The compression that is due before anything else is fed. */
  get due(): CompressionPhase | undefined {
    if (this.prefillOpen && this.cached >= this.compressAfter) return "prefill";
    return this.tokensToCompression <= 0 ? "decode" : undefined;
  }

  /** Tokens of its answer that can be fed until a compression is due. */
  get tokensToCompression(): number {
    const { interval = Number.POSITIVE_INFINITY } = this.plan.trigger;
    const since = Math.max(this.promptLength, this.compressions.at(-1)?.tokens ?? 0);
    return since + interval - this.cached;
  }

  /**
   * Starts a turn whose prompt is `ids`, of which the first `kept` tokens stay cached. Whoever holds
   * a slot cuts it to that length before it runs.
   */
  beginTurn(ids: Int32Array, compressAfter: number, kept = 0): void {
    const common = this.tokens.commonPrefix(ids);
    this.tokens.truncate(common);
    this.tokens.append(ids.subarray(common), ids.length);
    if (kept === 0) {
      this.compressions.length = 0;
      this.#dropSwapped();
      this.readPartly = false;
      this.sums = "none";
    }
    if (kept < this.cached) {
      this.position = kept;
      this.observer?.truncate(kept);
      this.replayedAt = -1;
    }
    this.cached = kept;
    this.promptLength = ids.length;
    this.compressAfter = compressAfter;
    const lastCompressed = this.compressions.at(-1)?.tokens ?? 0;
    this.prefillOpen = this.plan.trigger.prefill === true && lastCompressed < compressAfter;
    this.reserved = false;
    this.reads = undefined;
    this.futileAt = -1;
    this.foreseen = undefined;
    this.#state = "waiting";
  }

  /** Begins a turn behind `cached` tokens of its prompt, whose cache comes from elsewhere. */
  restore(
    swapped: SwappedOut,
    cached: number,
    position: number,
    compression: CompressionEvent | undefined,
  ): void {
    this.swapped = swapped;
    this.cached = cached;
    this.position = position;
    if (compression) {
      this.compressions.push(compression);
      this.prefillOpen = false;
    }
    if (this.plan.sums) this.sums = "own";
  }

  /** waiting → prefill: the sequence got a slot that already holds `cached` of its tokens. */
  enter(slot: SequenceSlot, cached: number, position: number): void {
    assert(this.#state === "waiting", `Sequence ${this.id} enters while ${this.state}.`);
    this.#state = "prefill";
    this.slot = slot;
    this.cached = cached;
    this.position = position;
    this.#dropSwapped();
  }

  /** The next `count` tokens as a share of a step. */
  feed(count: number, logits: Feed["logits"]): Feed {
    // Nobody shares the blocks of a sequence that begins.
    if (this.mustOwnBlocks && this.cached === 0) this.sums = "own";
    assert(!this.mustOwnBlocks, `Sequence ${this.id} would add to sums in blocks it shares.`);
    const { watched, reads } = this;
    this.reads = undefined;
    if (reads) this.readPartly = true;
    return {
      slot: this.slot!,
      ids: this.tokens.ids,
      ropeLengths: this.tokens.ropeLengths,
      from: this.cached,
      count,
      position: this.position,
      signalFlags: this.signalFlags,
      attentionBuffer: this.plan.attentionBuffer,
      logits,
      ...(reads && { reads }),
      ...(watched && { watched }),
    };
  }

  advance(count: number): void {
    this.cached += count;
    this.position += count;
  }

  /** Adds a sampled token, which the next step feeds. */
  sampled(id: number): void {
    this.tokens.push(id, this.tokens.length + 1);
  }

  compressedTo(event: CompressionEvent, position: number): void {
    this.compressions.push(event);
    if (event.phase === "prefill") this.prefillOpen = false;
    // What was gathered stands at positions that are others now.
    if (position !== this.position) this.#observeAnew();
    this.position = position;
    this.reserved = false;
  }

  /** running → waiting. Without `swapped` everything is fed again, which needs it uncompressed. */
  leave(swapped?: SwappedOut): void {
    assert(
      swapped || !this.compressed,
      `Sequence ${this.id} is compressed and cannot be replayed.`,
    );
    this.#state = "waiting";
    this.slot = undefined;
    this.swapped = swapped;
    this.reserved = false;
    this.reads = undefined;
    if (swapped) {
      // It comes back into blocks of its own.
      if (this.sums === "shared") this.sums = "own";
      return;
    }
    this.sums = "none";
    this.cached = this.position = 0;
    this.#observeAnew();
  }

  rest(): void {
    this.#state = "idle";
  }

  finish(): void {
    this.#state = "done";
    this.slot = undefined;
    this.#dropSwapped();
  }

  #dropSwapped(): void {
    this.swapped?.bytes.release();
    this.swapped = undefined;
  }

  /** A waiting sequence that knows what this one knows; its cached entries are copied by the caller. */
  fork(id: number): Sequence {
    const { arrival, priority, plan, cacheSalt } = this;
    const child = new Sequence({ id, arrival, priority, plan, cacheSalt });
    child.deadline = this.deadline;
    child.tokens = this.tokens.copy();
    child.cached = this.cached;
    child.position = this.position;
    child.promptLength = this.promptLength;
    child.compressAfter = this.compressAfter;
    child.compressions.push(...this.compressions);
    child.reusedTokens = this.reusedTokens;
    child.observer = this.observer?.fork();
    child.replayedAt = this.replayedAt;
    child.readPartly = this.readPartly;
    child.sums = this.sums;
    return child;
  }

  #observeAnew(): void {
    this.observer = this.plan.createObserver?.();
    this.replayedAt = -1;
  }
}
