import { assert } from "@kvcache/core";
import { createBlockSupply, type SupplyLimits } from "./block-supply.ts";
import { type CapturedState, captureSequence } from "./captured-cache.ts";
import type { Choice } from "./choice.ts";
import type { ChunkPace } from "./chunk-pace.ts";
import { createCompressionLifecycle } from "./compression-lifecycle.ts";
import { deadlineExceeded } from "./deadline-exceeded.ts";
import { deviceSteps, type Fed, forgetSurplus } from "./device-choice.ts";
import type { Generation } from "./generation.ts";
import type { FinishReason, KvUsage } from "./generation-event.ts";
import type { PromptScores } from "./prompt-scores.ts";
import type { PassResult } from "./runtime.ts";
import { shareTokens } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";
import type { StepTools } from "./step-tools.ts";
import { createTurnstile } from "./turnstile.ts";
import { yieldToHost } from "./yield-to-host.ts";

export interface ServingLoopOptions extends SupplyLimits, Omit<StepTools, "whileBusy" | "fail"> {
  /** Steps at most before tokens that a device chooses are looked at. */
  readonly stepsPerSubmit: number;
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
  const { whileBusy, whenFree } = createTurnstile();
  const lifecycle = createCompressionLifecycle({ ...options, whileBusy, fail });
  const supply = createBlockSupply({ ...options, whileBusy, fail }, lifecycle, options);
  /** Tokens of a step whose logits are all wanted, so that these stay below 64 MiB. */
  const maxScoredTokens = Math.max(1, Math.floor(2 ** 24 / vocabSize));
  /** Choices that get their copy of a prompt's cache once it is compressed. */
  let forks: { readonly parent: Sequence; readonly child: Sequence }[] = [];
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
    await forkPrompts();
    await capture();
    await supply.makeRoom();
    await supply.admit(roomForPrompts());
    return forward();
  }

  /** Hands out the caches that are ready, and ends their requests. */
  async function capture(): Promise<void> {
    for (const sequence of roster.running.filter(({ captured }) => captured))
      try {
        const { choice } = sequence;
        if (!choice) continue;
        const origin = options.originOf(sequence);
        const captured = await whileBusy(() => captureSequence(cache, sequence, origin));
        if (sequence.choice !== choice) continue;
        choice.generation.captured = captured;
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
      if (sequence.deadline <= now) fail(sequence, deadlineExceeded());
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

  const numDecoding = () => roster.running.filter(({ decoding }) => decoding).length;

  /** Prompt tokens that a step may carry now. */
  function roomForPrompts(): number {
    const decoding = numDecoding();
    const paced = pace?.promptTokens(decoding) ?? Number.POSITIVE_INFINITY;
    return Math.max(0, Math.min(runtime.maxBatchTokens - decoding, paced));
  }

  async function forward(): Promise<boolean> {
    await selectReads();
    const counts = shareTokens(roster.running, numDecoding() + roomForPrompts());
    const taking = [...roster.running].flatMap((sequence, i) => {
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
    // One that failed took those with it that answer the same request.
    const fed = taking.filter(({ sequence, choice }) => sequence.choice === choice);
    if (fed.length === 0) return false;

    const began = performance.now();
    const limit = roster.waiting.length > 0 ? 1 : options.stepsPerSubmit;
    const device = deviceSteps(runtime, fed, limit);
    let result: PassResult | Int32Array;
    try {
      const forward = () => runtime.forward(fed.map(({ feed }) => feed));
      result = await whileBusy<PassResult | Int32Array>(device?.run ?? forward);
    } catch (error) {
      // What the pass wrote is unknown, so nobody who took part can go on.
      for (const { sequence, choice } of fed) if (sequence.choice === choice) fail(sequence, error);
      return true;
    }
    const { numSteps: steps = 1 } = device ?? {};
    counters.steps += steps;
    const milliseconds = (performance.now() - began) / steps;
    const decodeTokens = fed.filter(({ decoding }) => decoding).length;
    const numTokens = fed.reduce((total, { feed }) => total + feed.count, 0);
    const promptTokens = numTokens - decodeTokens;
    pace?.observe({ numDecoding: decodeTokens, promptTokens, milliseconds });
    for (let i = 0; i < steps; i++)
      trace?.write({
        type: "step",
        sequences: fed.length,
        prefillTokens: promptTokens,
        decodeTokens,
        milliseconds,
      });
    if (result instanceof Int32Array) takeChosen(fed, result, steps);
    else takeLogits(fed, result);
    return true;
  }

  function takeLogits(
    fed: readonly (Fed & { readonly scores: PromptScores | undefined })[],
    { logits, failures }: PassResult,
  ): void {
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
      shareAndRelease(sequence);
      scores?.take(feed.from, rows, vocabSize);
      if (!isLast || choice.captures) continue;
      const last = rows.subarray(rows.length - vocabSize);
      sample(sequence, choice, (one) => one.take(last));
    }
  }

  /** Tokens [numSteps, feeds that want one] of steps that ran one behind the other. */
  function takeChosen(fed: readonly Fed[], chosen: Int32Array, numSteps: number): void {
    const numChosen = chosen.length / numSteps;
    let row = 0;
    for (const { sequence, choice, isLast, feed } of fed) {
      const column = isLast ? row++ : 0;
      // Whoever ended has another choice, or none; so has whoever was aborted meanwhile.
      for (let i = 0; i < numSteps && choice && sequence.choice === choice; i++) {
        sequence.advance(i === 0 ? feed.count : 1);
        shareAndRelease(sequence);
        const tokenId = chosen[i * numChosen + column]!;
        if (isLast) sample(sequence, choice, (one) => one.takeChosen(tokenId));
      }
    }
  }

  /** What others may use, and what no query sees any more. */
  function shareAndRelease(sequence: Sequence): void {
    const { cached, promptLength, prefillOpen, compressAfter } = sequence;
    if (cached === promptLength || (prefillOpen && cached === compressAfter))
      prefixes.publish(sequence, false);
    if (slides) cache.releaseOutOfWindow(sequence.slot!);
  }

  /** Draws the next token of every choice that a sequence stands for. */
  function sample(
    sequence: Sequence,
    choice: Choice,
    take: (one: Choice) => FinishReason | undefined,
  ): void {
    const choices = sequence.width > 1 ? choice.generation.choices : [choice];
    sequence.width = 1;
    try {
      const going = choices.filter((one) => {
        const reason = take(one);
        if (reason) forgetSurplus(cache, sequence);
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

  async function forkPrompts(): Promise<void> {
    if (forks.length > 0) await whileBusy(forkAll);
  }

  async function forkAll(): Promise<void> {
    // Each stays on the list until it has its copy: whoever fails takes its siblings with it.
    for (let next = forks[0]; next; next = forks[0]) {
      const { parent, child } = next;
      // What happened to the prompt's cache meanwhile happened to the child's.
      child.prefillOpen = parent.prefillOpen;
      child.compressions.push(...parent.compressions.slice(child.compressions.length));
      try {
        await roster.fork(parent, child);
        forks.shift();
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
    return [...roster.running, ...roster.waiting, ...roster.arriving, ...forked].filter(
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
      // A turn that ends at once would be over before it is known.
      if (!stopped && roster.waiting.length + roster.running.length > 0) turning ??= turn();
    },
    async stop() {
      stopped = true;
      await turning;
    },
    whenFree,
    cancel,
    reject,
  };
}
