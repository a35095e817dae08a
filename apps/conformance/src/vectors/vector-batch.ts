import {
  type BatchOptions,
  type Encoder,
  type EvictionPolicy,
  type KvBatch,
  KvCacheError,
  type ModelView,
  type Observation,
  type Observer,
  type SequenceSlot,
} from "@kvcache/core";
import { createHostEncoder } from "@kvcache/kernels";
import { type PagedCache, writeEntries } from "@kvcache/paged";
import { withKeys } from "./attention-vector.ts";
import { floats, integers, type VectorCase } from "./case.ts";
import { filledCache } from "./vector-cache.ts";

export interface VectorRun {
  readonly cache: PagedCache;
  readonly sequence: SequenceSlot;
  /** The case's rows, with everything that the policy's scorer observed. */
  batch(options: BatchOptions): Promise<KvBatch>;
}

/** A cache as after the case's prefill, and what the scorer saw of it: chunk signals, replays. */
export function vectorRun(given: VectorCase, policy: EvictionPolicy): VectorRun {
  const vector = withKeys(given);
  const { scorer } = policy;
  const window = [...scorer.needs, ...policy.budget.needs].reduce(
    (most, signal) => (signal.kind === "windowQueries" ? Math.max(most, signal.window) : most),
    0,
  );
  const { cache, sequence, numQueries } = filledCache(
    vector,
    window,
    vector.params.blockSize as number | undefined,
    repeatTokens(vector),
  );
  const model = modelOf(vector);
  return {
    cache,
    sequence,
    async batch(options) {
      const encoder = createHostEncoder();
      const observer = scorer.createObserver?.(cache.layout);
      const view = () => ({
        ...cache.batch([sequence], { ...options, model, observers: [observer] }),
        windowLengths: [numQueries],
      });
      if (observer) {
        const tokenIds = new Int32Array(vector.shape.tokens);
        observer.observe?.(encoder, observationOf(vector, "", 0, tokenIds), view());
        await encoder.submit();
        await replay(vector, observer, cache, sequence, encoder, view);
      }
      return view();
    },
  };
}

/** The tensors of a case as an observer sees a pass; `repeat` ones start at row `from`. */
export function observationOf(
  vector: VectorCase,
  prefix: "" | "repeat",
  from: number,
  tokenIds: Int32Array,
): Observation {
  const { tokens } = vector.shape;
  const count = tokenIds.length;
  /** [L, heads, m, width] → [count, heads × width] of one layer. */
  const byHead = (name: string) => (layer: number) => {
    const tensor = need(vector, name);
    const [, heads, rows, width] = tensor.shape as [number, number, number, number];
    if (from + count > rows)
      throw new KvCacheError("missing-signal", `${vector.id}: ${name} has ${rows} rows only.`);
    const out = new Float32Array(count * heads * width);
    for (let i = 0; i < count; i++)
      for (let head = 0; head < heads; head++) {
        const at = ((layer * heads + head) * rows + from + i) * width;
        out.set(tensor.data.subarray(at, at + width), (i * heads + head) * width);
      }
    return out;
  };
  /** [L, m, width] → [count, width] of one layer. */
  const byToken = (name: string) => (layer: number) => {
    const tensor = need(vector, name);
    const [, rows, width] = tensor.shape as [number, number, number];
    const at = (layer * rows + from) * width;
    return Float32Array.from(tensor.data.subarray(at, at + count * width));
  };
  const named = (name: string) =>
    prefix ? `${prefix}${name[0]!.toUpperCase()}${name.slice(1)}` : name;
  return {
    start: prefix ? tokens : 0,
    tokenIds,
    queries: byHead(named("queries")),
    queriesPreRope: byHead(named("queriesPreRope")),
    hidden: byToken(named("hidden")),
    headOutputs: byHead("headOutputs"),
    residual: byToken("residual"),
    attentionOutput: byToken("attentionOutput"),
  };
}

function need(vector: VectorCase, name: string) {
  const tensor = vector.tensors.get(name);
  if (!tensor)
    throw new KvCacheError("missing-signal", `${vector.id} does not give ${name}.`, {
      value: name,
    });
  return tensor;
}

const repeatTokens = (vector: VectorCase): number =>
  vector.tensors.get("repeatKeys")?.shape[2] ?? 0;

/** Plays the case's extra passes: their keys stand behind the cached ones while they are observed. */
async function replay(
  vector: VectorCase,
  observer: Observer,
  cache: PagedCache,
  sequence: SequenceSlot,
  encoder: Encoder,
  view: () => KvBatch,
): Promise<void> {
  const keys = vector.tensors.get("repeatKeys");
  if (!keys || !observer.replay) return;
  const [layers, heads, rows, width] = keys.shape as [number, number, number, number];
  const { tokens } = vector.shape;
  const passes = integers(vector, "repeatIndptr") ?? Int32Array.of(0, rows);
  const chunks = integers(vector, "chunkIndptr") ?? Int32Array.of(0, tokens);
  const data = floats(vector, "repeatKeys", keys.data.length);
  for (let index = 0; index + 1 < passes.length; index++) {
    const [from, to] = [passes[index]!, passes[index + 1]!];
    const count = to - from;
    cache.append(sequence, count);
    for (let row = 0; row < layers * heads; row++) {
      const own = data.subarray((row * rows + from) * width, (row * rows + to) * width);
      writeEntries(cache, sequence, Math.floor(row / heads), row % heads, own);
    }
    const tokenIds = new Int32Array(count);
    const pass = {
      tokenIds,
      start: chunks[index]!,
      end: chunks[index + 1]!,
      index,
      cached: tokens,
    };
    observer.replay(encoder, pass, observationOf(vector, "repeat", from, tokenIds), view());
    await encoder.submit();
    cache.truncate(sequence, tokens);
  }
}

/** What the case says of the model: RoPE of its shape, W_O of its tensors. */
export function modelOf(vector: VectorCase): ModelView {
  const { headDim, ropeTheta = 10_000, tokens } = vector.shape;
  const { hidden = vector.tensors.get("outputWeight")?.shape[1] ?? 0 } = vector.shape;
  return {
    hiddenSize: hidden,
    rope: () => ({
      theta: ropeTheta,
      dim: headDim,
      maxPositions: tokens,
      scaling: { type: "default" },
    }),
    outputWeight(layer) {
      const { data, shape } = need(vector, "outputWeight");
      const size = shape[1]! * shape[2]!;
      return Float32Array.from(data.subarray(layer * size, (layer + 1) * size));
    },
  };
}
