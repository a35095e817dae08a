import { assert, KvCacheError } from "@kvcache/core";
import { createBlockSupply, type SupplyLimits } from "./block-supply.ts";
import { type CapturedState, captureSequence } from "./captured-cache.ts";
import type { Choice } from "./choice.ts";
import type { ChunkPace } from "./chunk-pace.ts";
import { createCompressionLifecycle } from "./compression-lifecycle.ts";
import type { Generation } from "./generation.ts";
import type { FinishReason, KvUsage } from "./generation-event.ts";
import type { PassResult } from "./runtime.ts";
import { shareTokens } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";
import type { StepTools } from "./step-tools.ts";
import { yieldToHost } from "./yield-to-host.ts";

export interface ServingLoopOptions extends SupplyLimits, Omit<StepTools, "whileBusy" | "fail"> {
  /** Ids of the sequences that forks create. */
  readonly nextId: () => number;
  /** What captured caches are bound to. */
  readonly originOf: (sequence: Sequence) => Pick<CapturedState, "model" | "ropeClass">;
  /** Undefined: a step carries as many prompt tokens as it can. */
  readonly pace: ChunkPace | undefined;
}

/** The engine's one writer: it turns while somebody waits or runs. */
export interface ServingLoop {
  /** Starts turning unless it does already. */
  start(): void;
  /** Stops after the pass that is running now. */
  stop(): Promise<void>;
  /** Changes the cache or the roster: at once, or right after the pass that is running now. */
  whenFree(change: () => void): void;
  /** Ends a request as aborted and gives back what it holds. Call it through `whenFree`. */
  cancel(generation: Generation): void;
  /** Rejects a request and gives back what it holds. Call it through `whenFree`. */
  reject(generation: Generation, error: unknown): void;
}

export function createServingLoop(options: ServingLoopOptions): ServingLoop {
  const { runtime, roster, prefixes, counters, foresight, pace } = options;
  const { cache, trace } = runtime;
  const { vocabSize } = runtime.model.graph;
  const slides = cache.layout.slidingWindow.some((window) => window !== undefined);
  const lifecycle = createCompressionLifecycle({ ...options, whileBusy, fail });
  const supply = createBlockSupply({ ...options, whileBusy, fail }, lifecycle, options);
  /** Tokens of a step whose logits are all wanted, so that these stay below 64 MiB. */
  const maxScoredTokens = Math.max(1, Math.floor(2 ** 24 / vocabSize));
  /** Choices that get their copy of a prompt's cache once it is compressed. */
  let forks: { readonly parent: Sequence; readonly child: Sequence }[] = [];
  let deferred: (() => void)[] = [];
  let busy = false;
  let stopped = false;
  let turning: Promise<void> | undefined;

  async function turn(): Promise<void> {
    try {
      let emptySteps = 0;
      while (!stopped && roster.waiting.length + roster.running.length > 0) {
        emptySteps = (await step()) ? 0 : emptySteps + 1;
        assert(emptySteps < 4, "The scheduler found nothing to run.");
        await yieldToHost();
      }
    } catch (error) {
      for (const sequence of [...roster.running, ...roster.waiting]) fail(sequence, error);
    } finally {
      turning = undefined;
    }
  }

  /** Compress, schedule, forward, sample: one step of all sequences; false when nothing ran. */
  async function step(): Promise<boolean> {
    roster.relieved = false;
    expire();
    await lifecycle.compressDue();
    forkPrompts();
    capture();
    await supply.makeRoom();
    supply.admit();
    return forward();
  }

  /** Hands out the caches that are ready, and ends their requests. */
  function capture(): void {
    for (const sequence of roster.running.filter(({ captured }) => captured))
      try {
        const choice = sequence.choice!;
        choice.generation.captured = captureSequence(cache, sequence, options.originOf(sequence));
        end(choice, "stop", roster.kvUsage(sequence), sequence);
        leave(sequence, "done");
      } catch (error) {
        fail(sequence, error);
      }
  }

  /** Ends requests whose time is over. */
  function expire(): void {
    const now = performance.now();
    for (const sequence of [...roster.running, ...roster.waiting])
      if (sequence.deadline <= now)
        fail(
          sequence,
          new KvCacheError("deadline-exceeded", "The request did not end within its time limit.", {
            remedy: "Allow more time, ask for fewer tokens, or ask again when less is going on.",
          }),
        );
  }

  async function whileBusy<R>(work: () => Promise<R>): Promise<R> {
    busy = true;
    try {
      return await work();
    } finally {
      busy = false;
      const changes = deferred;
      deferred = [];
      for (const change of changes) change();
    }
  }

  /** What those read next whose policies select it; they must have their tokens' queries recorded. */
  async function selectReads(): Promise<void> {
    for (const sequence of roster.running.filter((one) => one.selectsReads))
      try {
        await whileBusy(() => runtime.selectReads([sequence]));
      } catch (error) {
        fail(sequence, error);
      }
  }

  async function forward(): Promise<boolean> {
    await selectReads();
    const numDecoding = roster.running.filter(({ decoding }) => decoding).length;
    const budget = numDecoding + (pace?.promptTokens(numDecoding) ?? Number.POSITIVE_INFINITY);
    const counts = shareTokens(roster.running, Math.min(runtime.maxBatchTokens, budget));
    const fed = [...roster.running].flatMap((sequence, i) => {
      const { choice, decoding } = sequence;
      const scores = sequence.cached < sequence.promptLength ? choice?.promptScores : undefined;
      const count = Math.min(counts[i]!, scores ? maxScoredTokens : counts[i]!);
      if (count === 0) return [];
      try {
        cache.append(sequence.slot!, count);
      } catch (error) {
        fail(sequence, error);
        return [];
      }
      const isLast = sequence.cached + count === sequence.tokens.length;
      const feed = sequence.feed(count, scores ? "all" : isLast ? "last" : "none");
      return [{ sequence, choice, decoding, isLast, scores, feed }];
    });
    if (fed.length === 0) return false;

    const began = performance.now();
    let result: PassResult;
    try {
      result = await whileBusy(() => runtime.forward(fed.map(({ feed }) => feed)));
    } catch (error) {
      // What the pass wrote is unknown, so nobody who took part can go on.
      for (const { sequence, choice } of fed) if (sequence.choice === choice) fail(sequence, error);
      return true;
    }
    counters.steps++;
    const milliseconds = performance.now() - began;
    const decodeTokens = fed.filter(({ decoding }) => decoding).length;
    const numTokens = fed.reduce((total, { feed }) => total + feed.count, 0);
    const promptTokens = numTokens - decodeTokens;
    pace?.observe({ numDecoding: decodeTokens, promptTokens, milliseconds });
    trace?.write({
      type: "step",
      sequences: fed.length,
      prefillTokens: promptTokens,
      decodeTokens,
      milliseconds,
    });
    const { logits, failures } = result;
    let row = 0;
    for (const [i, { sequence, choice, isLast, scores, feed }] of fed.entries()) {
      const begin = row * vocabSize;
      row += feed.logits === "all" ? feed.count : feed.logits === "last" ? 1 : 0;
      const rows = logits.subarray(begin, row * vocabSize);
      // Aborted meanwhile: nothing of this pass counts for it.
      if (!choice || sequence.choice !== choice) continue;
      if (failures.has(i)) {
        fail(sequence, failures.get(i));
        continue;
      }
      sequence.advance(feed.count);
      observe(sequence);
      scores?.take(feed.from, rows, vocabSize);
      if (isLast && !choice.captures)
        sample(sequence, choice, rows.subarray(rows.length - vocabSize));
    }
    return true;
  }

  /** What others may use, and what no query sees any more. */
  function observe(sequence: Sequence): void {
    const { cached, promptLength, prefillOpen, compressAfter } = sequence;
    if (cached === promptLength || (prefillOpen && cached === compressAfter))
      prefixes.publish(sequence, false);
    if (slides) cache.releaseOutOfWindow(sequence.slot!);
  }

  /** Draws the next token of every choice that a sequence stands for. */
  function sample(sequence: Sequence, choice: Choice, logits: Float32Array): void {
    const choices = sequence.width > 1 ? choice.generation.choices : [choice];
    sequence.width = 1;
    try {
      const going = choices.filter((one) => {
        const reason = one.take(logits);
        if (one.tokenIds.length > 0) counters.generatedTokens++;
        if (reason) end(one, reason, roster.kvUsage(sequence), sequence);
        return !reason;
      });
      const [carrier, ...others] = going;
      if (!carrier) {
        leave(sequence, "done");
        return;
      }
      for (const other of others) {
        const child = sequence.fork(options.nextId());
        child.choice = other;
        child.sampled(other.lastToken);
        forks.push({ parent: sequence, child });
      }
      sequence.choice = carrier;
      sequence.sampled(carrier.lastToken);
    } catch (error) {
      fail(sequence, error);
    }
  }

  function forkPrompts(): void {
    const pending = forks;
    forks = [];
    for (const { parent, child } of pending) {
      // What happened to the prompt's cache meanwhile happened to the child's.
      child.prefillOpen = parent.prefillOpen;
      child.compressions.push(...parent.compressions.slice(child.compressions.length));
      try {
        roster.fork(parent, child);
      } catch (error) {
        fail(child, error);
      }
    }
  }

  function end(choice: Choice, reason: FinishReason, kv: KvUsage, sequence: Sequence): void {
    if (choice.ended) return;
    counters.finished[reason]++;
    if (reason !== "abort" && !choice.captures) foresight?.ended(choice.tokenIds.length);
    choice.generation.end(choice, reason, kv, sequence.reusedTokens);
  }

  /** A sequence stops running; a session's keeps its cache unless it failed. */
  function leave(sequence: Sequence, reason: "done" | "aborted" | "failed"): void {
    const { session } = sequence;
    if (reason === "done") prefixes.publish(sequence, session === undefined);
    roster.release(sequence, reason, reason !== "failed" && session?.closed === false);
    if (!session) return;
    session.busy = false;
    if (reason === "failed") session.sequence = undefined;
  }

  function sequencesOf(generation: Generation): Sequence[] {
    const forked = forks.map(({ child }) => child);
    return [...roster.running, ...roster.waiting, ...forked].filter(
      ({ choice }) => choice?.generation === generation,
    );
  }

  function cancel(generation: Generation): void {
    const sequences = sequencesOf(generation);
    for (const sequence of sequences) {
      const kv = roster.kvUsage(sequence);
      for (const one of sequence.width > 1 ? generation.choices : [sequence.choice!])
        end(one, "abort", kv, sequence);
    }
    forks = forks.filter(({ child }) => !sequences.includes(child));
    for (const sequence of sequences) leave(sequence, "aborted");
  }

  function reject(generation: Generation, error: unknown): void {
    const sequences = sequencesOf(generation);
    if (sequences.length > 0) counters.finished.error++;
    forks = forks.filter(({ child }) => !sequences.includes(child));
    for (const sequence of sequences) leave(sequence, "failed");
    generation.fail(error);
  }

  function fail(sequence: Sequence, error: unknown): void {
    if (sequence.choice) reject(sequence.choice.generation, error);
  }

  return {
    start() {
      if (!stopped) turning ??= turn();
    },
    async stop() {
      stopped = true;
      await turning;
    },
    whenFree(change) {
      if (busy) deferred.push(change);
      else change();
    },
    cancel,
    reject,
  };
}
