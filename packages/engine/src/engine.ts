import { type CachePlan, KvCacheError } from "@kvcache/core";
import { checkSamplingParams } from "@kvcache/decoder";
import { createBlockAccount } from "./block-account.ts";
import { Choice } from "./choice.ts";
import { createCounters, type EngineStats } from "./engine-stats.ts";
import { type Explanation, explainPlan } from "./explain.ts";
import { Generation, type GenerationStream } from "./generation.ts";
import { createPrefixReuse, noPrefixReuse } from "./prefix-reuse.ts";
import { PromptScores } from "./prompt-scores.ts";
import { type GenerationRequest, type ResolvedRequest, resolveRequest } from "./request.ts";
import { Roster } from "./roster.ts";
import { openRuntime, type RuntimeOptions } from "./runtime.ts";
import { Sequence } from "./sequence.ts";
import { createServingLoop } from "./serving-loop.ts";
import { reusableTokens, type Session, SessionState } from "./session.ts";

export interface EngineOptions extends Omit<RuntimeOptions, "maxBatchTokens"> {
  readonly scheduler?: SchedulerOptions;
  /** Whether prompts start from cached prefixes of earlier ones. Default true. */
  readonly prefixCache?: boolean;
}

export interface SchedulerOptions {
  /** Tokens of one step at most, over all sequences. Default 512. */
  readonly maxBatchTokens?: number;
  /** Sequences that run at once. Default: what the cache and `maxBatchTokens` allow. */
  readonly maxSequences?: number;
  /** Fraction of the blocks that admission leaves to those who decode. Default 0.01. */
  readonly watermark?: number;
}

export interface Engine {
  /**
   * Starts a request. Throws at once what can be known at once: `invalid-argument`,
   * `invalid-plan`, `missing-signal`, `context-length-exceeded`, `disposed`. Later errors reject
   * `result` and the iteration.
   */
  generate(request: GenerationRequest): GenerationStream;
  /** A conversation whose cache is kept between its turns, as long as there is room. */
  openSession(): Session;
  /** What a plan would do here, for people and programs. Throws like `generate`. */
  explain(plan: CachePlan, promptTokens?: number): Explanation;
  stats(): EngineStats;
  /** Rejects everything, frees everything. The cache and the backend stay the caller's. */
  dispose(): Promise<void>;
}

/** Loads a model on a backend and serves it. */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const { scheduler = {}, prefixCache = true, load } = options;
  const { maxBatchTokens = 512, watermark = 0.01 } = scheduler;
  const { cache, model } = options;
  const maxSequences = scheduler.maxSequences ?? Math.min(cache.maxSequences, maxBatchTokens);
  checkScheduler(maxSequences, maxBatchTokens, cache.maxSequences, watermark);

  const runtime = await openRuntime({ ...options, maxBatchTokens });
  const account = createBlockAccount(cache);
  const counters = createCounters();
  const namespace = `${model.fingerprint}:${load?.weightFormat ?? "default"}`;
  const prefixes = prefixCache
    ? createPrefixReuse({ cache, graph: model.graph, namespace })
    : noPrefixReuse;
  const roster = new Roster({ cache, account, prefixes, counters, trace: runtime.trace });
  const shortestWindow = Math.min(
    ...cache.layout.slidingWindow.map((window) => window ?? Number.POSITIVE_INFINITY),
  );
  const alive = new Set<Generation>();
  const sessions = new Set<SessionState>();
  let disposed = false;
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
    watermark: account.totals.map((blocks) => Math.ceil(blocks * watermark)),
    nextId,
  });

  const checkAlive = () => {
    if (disposed) throw new KvCacheError("disposed", "This engine was disposed.");
  };

  function generate(request: GenerationRequest): GenerationStream {
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
          seed: seed + index,
          promptIds: ids,
          decoder,
          grammar,
          logprobs,
          promptScores: scored ? new PromptScores(ids, promptLogprobs) : undefined,
        }),
      );
    }
    session?.begin(resolved.plan.fingerprint, resolved.cacheSalt);
    for (const sequence of sequencesOf(resolved, generation, session)) roster.wait(sequence);

    alive.add(generation);
    request.signal?.addEventListener("abort", abort, { once: true });
    const settled = () => {
      alive.delete(generation);
      request.signal?.removeEventListener("abort", abort);
    };
    generation.result.then(settled, settled);
    if (request.signal?.aborted) abort();
    else loop.start();
    return generation.stream;
  }

  /** One sequence for all choices where they can fork from it, else one for each. */
  function sequencesOf(
    { plan, priority, cacheSalt, ids, compressAfter, n }: ResolvedRequest,
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
      waiting: roster.waiting.length,
      running: roster.running.length,
      idle: roster.idle.length,
      cache: cache.stats(),
      fallbacks: runtime.fallbacks(),
    }),
    async dispose() {
      if (disposed) return;
      disposed = true;
      loop.whenFree(() => {
        const error = new KvCacheError("disposed", "The engine was disposed.");
        for (const generation of alive) loop.reject(generation, error);
        for (const session of [...sessions]) session.close();
        cache.prefixes.clear();
      });
      await loop.stop();
      await runtime.dispose();
    },
  });
}

function checkScheduler(
  maxSequences: number,
  maxBatchTokens: number,
  slots: number,
  watermark: number,
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
  if (!(watermark >= 0 && watermark < 1))
    throw new KvCacheError("invalid-argument", `watermark must be in [0, 1), got ${watermark}.`, {
      value: watermark,
    });
}
