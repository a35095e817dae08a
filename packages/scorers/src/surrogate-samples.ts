import {
  defineKernel,
  hostArray,
  type KvBatch,
  KvCacheError,
  type Observer,
  type Scorer,
  type Tensor,
} from "@kvcache/core";
import { forEachRow, gatherPositions } from "@kvcache/kernels";
import type { CollectorState } from "./collector-state.ts";
import { joinScorers } from "./joined-scorers.ts";
import { type KvZapSurrogate, kvZapSurrogateOf } from "./kv-zap-file.ts";
import { type Examples, type MlpTrainingOptions, trainMlp } from "./mlp-training.ts";
import { observed } from "./observed.ts";
import { position } from "./position.ts";
import { ridgeRegression } from "./ridge.ts";
import { uniformNumbers } from "./uniform-numbers.ts";

export interface SurrogateSamplesOptions {
  /** Tokens taken of each sequence. Default 500. */
  readonly perSequence?: number;
  /** Of the choice of tokens. Default 0. */
  readonly seed?: number;
}

export interface SurrogateSamples {
  /** Scores as the teacher, and takes samples while it does. */
  readonly scorer: Scorer;
  /** Block inputs, and logarithms of the teacher's scores: one example for each sampled token. */
  layer(layer: number): Examples;
  readonly numLayers: number;
  state(): CollectorState;
  /** Goes on from what an earlier run gathered. */
  restore(state: CollectorState): void;
}

interface HiddenObserver extends Observer {
  readonly passes: readonly HiddenPass[];
}

interface HiddenPass {
  readonly start: number;
  readonly count: number;
  readonly hiddenSize: number;
  /** Per layer, f32 [count, hiddenSize]. */
  readonly hidden: readonly Float32Array[];
}

const hasPasses = (observer: Observer): observer is HiddenObserver => "passes" in observer;

/**
 * Gathers what a surrogate of `teacher` learns from: run texts through an engine under a policy that
 * scores with it. Tokens that the teacher gives no positive number in some row are left out.
 */
export function surrogateSamples(
  teacher: Scorer,
  { perSequence = 500, seed = 0 }: SurrogateSamplesOptions = {},
): SurrogateSamples {
  const taken: Taken[] = [];
  let sequences = 0;
  /** Each sequence has its own, so that a run which is taken up again chooses as one in one piece. */
  const nextRandom = () => uniformNumbers(Math.imul(seed, 0x9e3779b1) + sequences++);
  const watcher: Scorer = { ...position(), needs: [{ kind: "hidden" }], createObserver };
  const parts = joinScorers([teacher, watcher]);
  return {
    get numLayers() {
      return taken.length;
    },
    layer: (layer) => joinedExamples(taken[layer]),
    state: () => ({
      sequences: Float64Array.of(sequences),
      ...Object.fromEntries(
        taken.flatMap((own, layer) => {
          const { inputs, targets, count } = joinedExamples(own);
          return [
            [`inputs.${layer}`, inputs],
            [`targets.${layer}`, targets],
            [`count.${layer}`, Float64Array.of(count)],
          ];
        }),
      ),
    }),
    restore(state) {
      sequences = state.sequences?.[0] ?? 0;
      taken.length = 0;
      for (let layer = 0; state[`count.${layer}`]; layer++) {
        const count = state[`count.${layer}`]![0]!;
        const rowsOf = (name: string) => {
          const all = state[`${name}.${layer}`] as Float32Array;
          const size = all.length / count;
          return Array.from({ length: count }, (_, i) => all.subarray(i * size, (i + 1) * size));
        };
        taken.push({ inputs: rowsOf("inputs"), targets: rowsOf("targets") });
      }
    },
    scorer: Object.freeze<Scorer>({
      name: "surrogate-samples",
      options: { teacher: [teacher.name, teacher.options ?? {}] },
      needs: parts.needs,
      createObserver: parts.createObserver!,
      score(encoder, batch, out, target) {
        teacher.score(encoder, parts.viewOf(batch, 0), out, target);
        const view = parts.viewOf(batch, 1);
        const passes = batch.sequences.map((_, i) => observed(view, i, hasPasses).passes);
        encoder.run(takeSamples, { batch, scores: out, passes, perSequence, nextRandom, taken });
      },
    }),
  };
}

function createObserver({ shape }: Parameters<NonNullable<Scorer["createObserver"]>>[0]) {
  const observerOf = (passes: HiddenPass[]): HiddenObserver => ({
    get passes() {
      return passes;
    },
    observe(_, { start, tokenIds, hidden }) {
      const count = tokenIds.length;
      const layers = Array.from({ length: shape.numLayers }, (_, layer) => hidden(layer).slice());
      passes.push({ start, count, hiddenSize: layers[0]!.length / count, hidden: layers });
    },
    truncate(end) {
      passes = passes
        .filter(({ start }) => start < end)
        .map((pass) => ({ ...pass, count: Math.min(pass.count, end - pass.start) }));
    },
    fork: () => observerOf([...passes]),
  });
  return observerOf([]);
}

interface Taken {
  readonly inputs: Float32Array[];
  readonly targets: Float32Array[];
}

interface TakeSamplesParams {
  readonly batch: KvBatch;
  readonly scores: Tensor;
  /** Of each sequence. */
  readonly passes: readonly (readonly HiddenPass[])[];
  readonly perSequence: number;
  /** Numbers for the sequence that comes next. */
  readonly nextRandom: () => () => number;
  /** Per layer. */
  readonly taken: Taken[];
}

const takeSamples = defineKernel<TakeSamplesParams>({
  name: "take-samples",
  reference({ batch, scores, passes, perSequence, nextRandom, taken }) {
    const { numKvHeads, numLayers } = batch.shape;
    while (taken.length < numLayers) taken.push({ inputs: [], targets: [] });
    const logs = logScores(batch, hostArray(scores, "f32"));
    passes.forEach((own, index) => {
      const chosen = chosenTokens(logs[index]!, perSequence, nextRandom());
      for (const [position, values] of chosen) {
        const pass = own.findLast((p) => position >= p.start && position < p.start + p.count);
        pass?.hidden.forEach((rows, layer) => {
          const at = (position - pass.start) * pass.hiddenSize;
          taken[layer]!.inputs.push(rows.slice(at, at + pass.hiddenSize));
          taken[layer]!.targets.push(values.slice(layer * numKvHeads, (layer + 1) * numKvHeads));
        });
      }
    });
  },
});

/** Of each sequence: position → logarithms of the scores of its rows, NaN where a row lacks it. */
function logScores(batch: KvBatch, scores: Float32Array): Map<number, Float32Array>[] {
  const { numLayers, numKvHeads } = batch.shape;
  const logs = batch.sequences.map(() => new Map<number, Float32Array>());
  forEachRow(batch, ({ sequenceIndex, layer, head, begin, view }) => {
    const own = logs[sequenceIndex]!;
    gatherPositions(view).forEach((position, j) => {
      const values = own.get(position) ?? new Float32Array(numLayers * numKvHeads).fill(Number.NaN);
      values[layer * numKvHeads + head] = Math.log(scores[begin + j]!);
      own.set(position, values);
    });
  });
  return logs;
}

/** Up to `count` tokens whose logarithms are all finite, in random order. */
function chosenTokens(
  logs: ReadonlyMap<number, Float32Array>,
  count: number,
  random: () => number,
): [number, Float32Array][] {
  const left = [...logs].filter(([, values]) => values.every(Number.isFinite));
  const chosen: [number, Float32Array][] = [];
  while (chosen.length < count && left.length > 0) {
    const index = Math.floor(random() * left.length);
    chosen.push(left[index]!);
    left[index] = left.at(-1)!;
    left.pop();
  }
  return chosen;
}

function joinedExamples(taken: Taken | undefined): Examples {
  if (!taken || taken.inputs.length === 0)
    throw new KvCacheError("invalid-argument", "No sample was taken yet.", {
      remedy: "Run texts under a policy that scores with the samples' scorer.",
    });
  const joined = (parts: readonly Float32Array[]) => {
    const size = parts[0]!.length;
    const out = new Float32Array(parts.length * size);
    parts.forEach((part, i) => {
      out.set(part, i * size);
    });
    return out;
  };
  return {
    count: taken.inputs.length,
    inputs: joined(taken.inputs),
    targets: joined(taken.targets),
  };
}

/** Linear surrogates by ridge regression. */
export function trainLinearSurrogate(
  samples: SurrogateSamples,
  { alpha = 1, model = "" }: { readonly alpha?: number; readonly model?: string } = {},
): KvZapSurrogate {
  let hiddenSize = 0;
  const layers = Array.from({ length: samples.numLayers }, (_, layer) => {
    const { inputs, targets, count } = samples.layer(layer);
    hiddenSize = inputs.length / count;
    const regression = ridgeRegression(hiddenSize, targets.length / count);
    regression.add(inputs, targets, count);
    const { weight, bias } = regression.solve(alpha);
    return { weight1: weight, bias1: bias };
  });
  return kvZapSurrogateOf(layers, hiddenSize, model);
}

/** Surrogates of two maps with a GELU between them, layer by layer. */
export function trainMlpSurrogate(
  samples: SurrogateSamples,
  { model = "", ...options }: MlpTrainingOptions & { readonly model?: string } = {},
): KvZapSurrogate {
  const first = samples.layer(0);
  const layers = Array.from({ length: samples.numLayers }, (_, layer) =>
    trainMlp(samples.layer(layer), { ...options, seed: (options.seed ?? 0) + layer }),
  );
  return kvZapSurrogateOf(layers, first.inputs.length / first.count, model);
}
