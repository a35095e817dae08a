import {
  type CachePlan,
  KvCacheError,
  type Observer,
  type SequenceSlot,
  type SequenceStats,
} from "@kvcache/core";
import { sampleToken } from "@kvcache/decoder";
import { openRuntime, type Runtime, type RuntimeOptions } from "./runtime.ts";
import { Sequence } from "./sequence.ts";

const greedily = { temperature: 0 };
const noHistory = { promptIds: [], generatedIds: [] };

/** One sequence, driven by hand: teacher forcing, conformance cases, perplexity. */
export interface SequenceRunner {
  readonly slot: SequenceSlot;
  /** Tokens fed so far. */
  readonly length: number;
  /**
   * Feeds prompt tokens in chunks of `maxBatchTokens`. Logits of the last one, [vocabSize], or of
   * all, [ids.length, vocabSize].
   */
  prefill(ids: ArrayLike<number>, logits?: "last" | "all"): Promise<Float32Array>;
  /**
   * Feeds tokens one by one at their true positions, compressing before each where the plan says
   * so. Logits [ids.length, vocabSize].
   */
  feed(ids: ArrayLike<number>): Promise<Float32Array>;
  /**
   * Goes on with the likeliest token, `count` times or up to one of `stopIds`, which is included.
   * The last token is returned, not fed.
   */
  greedy(count: number, stopIds?: readonly number[]): Promise<Int32Array>;
  /** Compresses now, as the plan says. Throws `invalid-argument` without an eviction in the plan. */
  compress(): Promise<void>;
  /** Keeps these slots of each row and evicts the rest: CSR over [numLayers × numKvHeads] rows. */
  keep(indptr: Uint32Array, indices: Uint32Array): Promise<void>;
  stats(): SequenceStats;
  close(): void;
}

export interface OpenOptions {
  /** For profiling: sees every pass, with all the signals that the runner was created with. */
  readonly observer?: Observer;
}

export interface Runner {
  readonly runtime: Runtime;
  /** Opens an empty sequence that gathers the signals the plan needs. */
  open(plan?: CachePlan, options?: OpenOptions): SequenceRunner;
  dispose(): Promise<void>;
}

/** Loads a model on a backend for sequences that are driven by hand. */
export async function createRunner(options: RuntimeOptions): Promise<Runner> {
  const runtime = await openRuntime(options);
  let numOpened = 0;
  return Object.freeze({
    runtime,
    open: (plan: CachePlan = {}, open: OpenOptions = {}) =>
      openSequence(runtime, plan, open, numOpened++),
    dispose: () => runtime.dispose(),
  });
}

function openSequence(
  runtime: Runtime,
  plan: CachePlan,
  { observer: profiler }: OpenOptions,
  id: number,
): SequenceRunner {
  const { cache, maxBatchTokens, model } = runtime;
  const { vocabSize } = model.graph;
  const sequence = new Sequence({
    id,
    arrival: id,
    priority: 0,
    plan: runtime.planOf(plan),
    cacheSalt: "",
    profiler,
    continues: true,
  });
  sequence.enter(cache.open(), 0, 0);
  let lastLogits: Float32Array | undefined;

  /** Feeds `count` tokens of the log; returns logits of the last one or of all of them. */
  async function step(count: number, wanted: "last" | "all"): Promise<Float32Array> {
    if (sequence.mustOwnBlocks) await runtime.ownBlocks(sequence);
    cache.append(sequence.slot!, count);
    const { logits, failures } = await runtime.forward([sequence.feed(count, wanted)]);
    if (failures.has(0)) throw failures.get(0);
    sequence.advance(count);
    cache.releaseOutOfWindow(sequence.slot!);
    lastLogits = logits.subarray(logits.length - vocabSize);
    return logits;
  }

  async function compress(phase: "prefill" | "decode"): Promise<void> {
    const { policy, target } = sequence.plan;
    if (!policy || !target)
      throw new KvCacheError("invalid-argument", "This sequence's plan evicts nothing.", {
        value: plan,
        remedy: "Open it with { eviction: { policy, target } }.",
      });
    await runtime.compress([sequence], { policy, target, phase });
  }

  const runner: SequenceRunner = {
    get slot() {
      return sequence.slot!;
    },
    get length() {
      return sequence.cached;
    },
    async prefill(ids, wanted = "last") {
      const all = new Int32Array(sequence.cached + ids.length);
      all.set(sequence.tokens.ids.subarray(0, sequence.cached));
      all.set(ids, sequence.cached);
      sequence.beginTurn(all, all.length, sequence.cached);
      sequence.enter(sequence.slot!, sequence.cached, sequence.position);
      const out = new Float32Array((wanted === "all" ? ids.length : 1) * vocabSize);
      for (let done = 0; done < ids.length; ) {
        const count = Math.min(maxBatchTokens, ids.length - done);
        const logits = await step(count, wanted);
        out.set(logits, wanted === "all" ? done * vocabSize : 0);
        done += count;
      }
      return out;
    },
    async feed(ids) {
      const out = new Float32Array(ids.length * vocabSize);
      for (let i = 0; i < ids.length; i++) {
        const phase = sequence.due;
        if (phase) await compress(phase === "prefill" ? phase : "decode");
        sequence.sampled(ids[i]!);
        if (sequence.selectsReads) await runtime.selectReads([sequence]);
        out.set(await step(1, "last"), i * vocabSize);
      }
      return out;
    },
    async greedy(count, stopIds = []) {
      const ids: number[] = [];
      while (ids.length < count) {
        if (!lastLogits)
          throw new KvCacheError("invalid-argument", "There is nothing to continue.", {
            remedy: "Prefill a prompt first.",
          });
        ids.push(sampleToken(lastLogits, greedily, noHistory, Math.random));
        if (stopIds.includes(ids.at(-1)!) || ids.length === count) break;
        await runner.feed(ids.slice(-1));
      }
      return Int32Array.from(ids);
    },
    compress: () => compress(sequence.prefillOpen ? "prefill" : "decode"),
    async keep(indptr, indices) {
      const encoder = runtime.encoder();
      const protect = { sinks: 0, recent: 0 };
      const batch = cache.batch([sequence.slot!], { protect, phase: "prefill" });
      const keep = { indptr: encoder.upload(indptr), indices: encoder.upload(indices) };
      await encoder.submit();
      await cache.compact(encoder, batch, keep);
      sequence.prefillOpen = false;
    },
    stats: () => cache.sequenceStats(sequence.slot!),
    close() {
      cache.close(sequence.slot!);
      sequence.finish();
    },
  };
  return runner;
}
