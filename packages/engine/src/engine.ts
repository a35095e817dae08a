import { type CachePlan, checkWholeNumber, KvCacheError, type SwapSpace } from "@kvcache/core";
import { checkSamplingParams } from "@kvcache/decoder";
import { createBlockAccount } from "./block-account.ts";
import { type CapturedCache, restoreSequence } from "./captured-cache.ts";
import { Choice } from "./choice.ts";
import { createChunkPace } from "./chunk-pace.ts";
import { createCounters, type EngineStats } from "./engine-stats.ts";
import { type Explanation, explainPlan } from "./explain.ts";
import { createForesight } from "./foresight.ts";
import { Generation, type GenerationStream } from "./generation.ts";
import type { KvUsage, Usage } from "./generation-event.ts";
import { createPrefixReuse, noPrefixReuse, ropeClass } from "./prefix-reuse.ts";
import type { PrefixTier } from "./prefix-tier.ts";
import { PromptScores } from "./prompt-scores.ts";
import { type GenerationRequest, type ResolvedRequest, resolveRequest } from "./request.ts";
import { Roster } from "./roster.ts";
import { openRuntime, type RuntimeOptions } from "./runtime.ts";
import { Sequence } from "./sequence.ts";
import { createServingLoop } from "./serving-loop.ts";
import { reusableTokens, type Session, SessionState } from "./session.ts";
import { createMemorySwap } from "./swap-space.ts";

export interface EngineOptions extends Omit<RuntimeOptions, "maxBatchTokens"> {
  readonly scheduler?: SchedulerOptions;
  /** Whether prompts start from cached prefixes of earlier ones. Default true. */
  readonly prefixCache?: boolean;
  /** Where prefixes are kept beside the cache, which must live on the host for that. */
  readonly prefixTier?: PrefixTier | undefined;
  /** Where compressed sequences wait that lost their blocks. Default: 1 GiB of memory. */
  readonly swap?: SwapSpace;
}

export interface SchedulerOptions {
  /** Tokens of one step at most, over all sequences. Default 512. */
  readonly maxBatchTokens?: number;
  /** Sequences that run at once. Default: what the cache and `maxBatchTokens` allow. */
  readonly maxSequences?: number;
  /** Fraction of the blocks that admission leaves to those who decode. Default 0.01. */
  readonly watermark?: number;
  /**
   * Whether a request waits until there is room for what it and those who run are expected to hold
   * at their ends, after compression. Otherwise it runs as soon as its prompt fits. Default true.
   */
  readonly foresight?: boolean;
  /**
   * How many times longer than without prompts the gap between two tokens of an answer may be while
   * prompts are read. Default 2.
   */
  readonly maxStall?: number;
  /**
   * Steps at most that a device runs one behind the other before the host looks at their tokens:
   * while everybody decodes greedily and nobody waits, on backends that choose tokens themselves.
   * Tokens then arrive in groups, and an aborted request ends at the end of one. Default 1.
   */
  readonly stepsPerSubmit?: number;
}

export interface Engine {
  /**
   * Starts a request. Throws at once what can be known at once: `invalid-argument`,
   * `invalid-plan`, `missing-signal`, `context-length-exceeded`, `disposed`. Later errors reject
   * `result` and the iteration.
   */
  generate(request: GenerationRequest): GenerationStream;
  /**
   * Reads a prompt, compresses it as the plan says and gives its cache, which requests can start
   * `from`: here, after a restart, on another machine. Rejects like `generate`.
   */
  capture(request: CaptureRequest): Promise<Capture>;
  /** A conversation whose cache is kept between its turns, as long as there is room. */
  openSession(): Session;
  /** What a plan would do here, for people and programs. Throws like `generate`. */
  explain(plan: CachePlan, promptTokens?: number): Explanation;
  stats(): EngineStats;
  /** Rejects everything, frees everything. The cache and the backend stay the caller's. */
  dispose(): Promise<void>;
}

export type CaptureRequest = Pick<
  GenerationRequest,
  "prompt" | "plan" | "signal" | "timeout" | "priority" | "cacheSalt"
>;

export interface Capture extends CapturedCache {
  readonly usage: Usage;
  readonly kv: KvUsage;
}

/** Loads a model on a backend and serves it. */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const { scheduler = {}, prefixCache = true, load } = options;
  const { maxBatchTokens = 512, watermark = 0.01, foresight = true, maxStall = 2 } = scheduler;
  const { stepsPerSubmit = 1 } = scheduler;
  checkWholeNumber("stepsPerSubmit", stepsPerSubmit, 1);
  const { swap = createMemorySwap(2 ** 30) } = options;
  const { cache, model, prefixTier } = options;
  if (prefixTier && !(prefixCache && cache.prefixes.exchange))
    throw new KvCacheError("unsupported", "A prefix tier needs a prefix cache in host memory.", {
      remedy: "Leave prefixTier out, or use a backend whose cache lives on the host.",
    });
  const maxSequences = scheduler.maxSequences ?? Math.min(cache.maxSequences, maxBatchTokens);
  checkScheduler(maxSequences, maxBatchTokens, cache.maxSequences, watermark, maxStall);

  const runtime = await openRuntime({ ...options, maxBatchTokens });
  const account = createBlockAccount(cache, maxBatchTokens);
  const counters = createCounters();
  const namespace = `${model.fingerprint}:${load?.weightFormat ?? "default"}`;
  const prefixes = prefixCache
    ? createPrefixReuse({
        cache,
        graph: model.graph,
        namespace,
        tier: prefixTier,
        whenFree: (change) => loop.whenFree(change),
      })
    : noPrefixReuse;
  const { trace } = runtime;
  const shared = { cache, account, prefixes, counters, maxBatchTokens };
  const roster = new Roster({ ...shared, swap, trace });
  const shortestWindow = Math.min(
    ...cache.layout.slidingWindow.map((window) => window ?? Number.POSITIVE_INFINITY),
  );
  const alive = new Set<Generation>();
  const sessions = new Set<SessionState>();
  let disposed: Promise<void> | undefined;
  let numSequences = 0;
  let numArrivals = 0;
  const nextId = () => numSequences++;
  const loop = createServingLoop({
    runtime,
    roster,
    account,
    prefixes,
    counters,
    maxSequences,
    stepsPerSubmit,
    originOf: (sequence) => originOf(sequence),
    foresight: foresight ? createForesight(cache.layout, account) : undefined,
    pace: Number.isFinite(maxStall)
      ? createChunkPace(maxStall, cache.layout.arenas[0]!.blockSize)
      : undefined,
    watermark: account.totals.map((blocks) => Math.ceil(blocks * watermark)),
    nextId,
  });

  const checkAlive = () => {
    if (disposed) throw new KvCacheError("disposed", "This engine was disposed.");
  };

  const originOf = ({ promptLength }: Sequence) => ({
    model: namespace,
    ropeClass: ropeClass(model.graph.ropes, promptLength),
  });

  const generate = (request: GenerationRequest): GenerationStream => begin(request, false).stream;

  async function capture(request: CaptureRequest): Promise<Capture> {
    const generation = begin({ ...request, maxTokens: 1 }, true);
    const { usage, kv } = await generation.result;
    const { captured } = generation;
    if (captured) return { ...captured, usage, kv };
    throw new KvCacheError("aborted", "The capture was aborted.");
  }

  function begin(request: GenerationRequest, captures: boolean): Generation {
    checkAlive();
    const sampling = checkSamplingParams(request.sampling ?? { temperature: 0 });
    const resolved = resolveRequest(request, runtime, account);
    const session = sessionOf(request.session);

    const { ids, n } = resolved;
    const abort = () => loop.whenFree(() => loop.cancel(generation));
    const generation = new Generation(ids.length, n, abort);
    const seed = sampling.seed ?? Math.floor(Math.random() * 2 ** 32);
    for (let index = 0; index < n; index++) {
      const { logprobs, promptLogprobs, grammar, skipSpecialTokens = true } = request;
      const decoder = model.tokenizer?.streamDecoder({ skipSpecialTokens });
      const scored = index === 0 && promptLogprobs !== undefined;
      generation.choices.push(
        new Choice(generation, {
          ...resolved,
          index,
          sampling,
          // Among the numbers that are exact, whatever the first one is.
          seed: (seed % (Number.MAX_SAFE_INTEGER - 2 ** 16)) + index,
          promptIds: ids,
          decoder,
          grammar,
          captures,
          logprobs,
          promptScores: scored ? new PromptScores(ids, promptLogprobs) : undefined,
        }),
      );
    }
    session?.begin(resolved.plan.fingerprint, resolved.cacheSalt);
    const sequences = sequencesOf(resolved, generation, session);
    if (request.from)
      for (const sequence of sequences) restoreSequence(sequence, request.from, originOf(sequence));
    const fetching = prefixes.fetch(sequences[0]!);
    for (const sequence of sequences) {
      runtime.trace?.write({ type: "queue", sequence: sequence.id, tokens: ids.length });
      if (fetching) roster.arriving.add(sequence);
      else roster.wait(sequence);
    }
    // Whatever became of it, the request goes on.
    const arrive = () =>
      loop.whenFree(() => {
        for (const sequence of sequences) roster.arrive(sequence);
        loop.start();
      });
    fetching?.then(arrive, arrive);

    alive.add(generation);
    request.signal?.addEventListener("abort", abort, { once: true });
    const settled = () => {
      alive.delete(generation);
      request.signal?.removeEventListener("abort", abort);
    };
    generation.result.then(settled, settled);
    if (request.signal?.aborted) abort();
    else loop.start();
    return generation;
  }

  /** One sequence for all choices where they can fork from it, else one for each. */
  function sequencesOf(
    { plan, priority, cacheSalt, ids, compressAfter, n, pin, deadline }: ResolvedRequest,
    generation: Generation,
    session: SessionState | undefined,
  ): Sequence[] {
    const forks = n > 1 && plan.sharesBlocks && n <= maxSequences;
    const heads = forks ? generation.choices.slice(0, 1) : generation.choices;
    return heads.map((choice) => {
      const fresh = { id: nextId(), arrival: 0, priority, plan, cacheSalt };
      const sequence = session?.sequence ?? new Sequence(fresh);
      sequence.arrival = numArrivals++;
      sequence.priority = priority;
      sequence.choice = choice;
      sequence.pin = pin;
      sequence.deadline = deadline;
      sequence.width = forks ? n : 1;
      const kept = session?.sequence ? reusableTokens(sequence, ids, shortestWindow) : 0;
      sequence.beginTurn(ids, compressAfter, kept);
      if (session) {
        sequence.session = session;
        session.sequence = sequence;
      }
      return sequence;
    });
  }

  function sessionOf(session: Session | undefined): SessionState | undefined {
    if (session === undefined) return undefined;
    for (const known of sessions) if (known === session) return known;
    throw new KvCacheError("invalid-argument", `Session ${session.id} is not of this engine.`, {
      value: session.id,
      remedy: "Open one with engine.openSession(), and do not use it after close().",
    });
  }

  function closeSession(session: SessionState): void {
    sessions.delete(session);
    loop.whenFree(() => {
      const { sequence } = session;
      if (sequence?.choice) loop.cancel(sequence.choice.generation);
      else if (sequence) roster.release(sequence, "done", false);
      session.sequence = undefined;
    });
  }

  return Object.freeze<Engine>({
    generate,
    capture,
    openSession() {
      checkAlive();
      const session = new SessionState(nextId(), closeSession);
      sessions.add(session);
      return session;
    },
    explain(plan, promptTokens) {
      checkAlive();
      return explainPlan(plan, runtime, promptTokens);
    },
    stats: () => ({
      ...counters,
      preemptions: { ...counters.preemptions },
      finished: { ...counters.finished },
      waiting: roster.waiting.length + roster.arriving.size,
      running: roster.running.length,
      idle: roster.idle.length,
      swappedBytes: swap.bytes,
      cache: cache.stats(),
      fallbacks: runtime.fallbacks(),
    }),
    dispose: () => (disposed ??= end()),
  });

  async function end(): Promise<void> {
    loop.whenFree(() => {
      const error = new KvCacheError("disposed", "The engine was disposed.");
      for (const generation of alive) loop.reject(generation, error);
      for (const session of [...sessions]) session.close();
      cache.prefixes.clear();
    });
    await loop.stop();
    await runtime.dispose();
  }
}

function checkScheduler(
  maxSequences: number,
  maxBatchTokens: number,
  slots: number,
  watermark: number,
  maxStall: number,
): void {
  if (!(Number.isSafeInteger(maxSequences) && maxSequences >= 1 && maxSequences <= slots))
    throw new KvCacheError(
      "invalid-argument",
      `maxSequences must be in 1 … ${slots}, the cache's own limit, got ${maxSequences}.`,
      { value: maxSequences, remedy: "Create the cache with a larger maxSequences." },
    );
  if (maxBatchTokens < maxSequences)
    throw new KvCacheError(
      "invalid-argument",
      `A step of ${maxBatchTokens} tokens cannot feed ${maxSequences} sequences.`,
      { value: maxBatchTokens, remedy: "Raise maxBatchTokens, or lower maxSequences." },
    );
  if (!(maxStall > 1))
    throw new KvCacheError("invalid-argument", `maxStall must be above 1, got ${maxStall}.`, {
      value: maxStall,
      remedy: "Use Infinity to read prompts as fast as possible.",
    });
  if (!(watermark >= 0 && watermark < 1))
    throw new KvCacheError("invalid-argument", `watermark must be in [0, 1), got ${watermark}.`, {
      value: watermark,
    });
}
