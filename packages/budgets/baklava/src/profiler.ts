import {
  checkOneOf,
  checkWholeNumber,
  groupSize,
  type KvBatch,
  KvCacheError,
  type KvShape,
  type Observation,
  type Observer,
  type Scorer,
} from "@kvcache/core";
import { gatherPositions, gatherValues, positionScore, rowView } from "@kvcache/kernels";
import { cosine, type ImportanceSums, mergeImportance, noImportance } from "./importance.ts";

export interface ProfilerOptions {
  /**
   * What is compared to a head's output: the value that enters it (default), the residual stream
   * before and after the head alone adds to it, or the head's slice of the residual stream (only
   * where heads × head dim is the hidden size).
   */
  readonly compare?: "value" | "residual" | "slice";
  /** First tokens of a prompt that heads are not judged by: the first sees only itself. Default 1. */
  readonly skipFirst?: number;
}

/** Gathers importance from the forward passes of every sequence that runs under its scorer. */
export interface ImportanceProfiler {
  /** Keeps late tokens; what matters is that it observes. */
  readonly scorer: Scorer;
  /** All that was seen so far, plain JSON. */
  sums(): ImportanceSums;
  /** Goes on from an earlier run. */
  add(earlier: ImportanceSums): void;
}

/** Throws `invalid-argument` naming the option that is out of range. */
export function importanceProfiler(
  shape: KvShape,
  options: ProfilerOptions = {},
): ImportanceProfiler {
  const { compare = "value", skipFirst = 1 } = options;
  checkOneOf("compare", compare, ["value", "residual", "slice"]);
  checkWholeNumber("skipFirst", skipFirst, 0);
  let sums = noImportance(shape.numLayers, shape.numQueryHeads);
  const observer: Observer = {
    observe(_, observation, batch) {
      sums = mergeImportance(sums, measured(shape, compare, skipFirst, observation, batch));
    },
    truncate() {},
    fork: () => observer,
  };
  return {
    scorer: Object.freeze<Scorer>({
      name: "baklava-profiler",
      options: { compare, skipFirst },
      needs: [{ kind: "headOutputs" }],
      createObserver: () => observer,
      score: (encoder, batch, out) => encoder.run(positionScore, { batch, out }),
    }),
    sums: () => sums,
    add(earlier) {
      if (earlier.numLayers !== shape.numLayers || earlier.numQueryHeads !== shape.numQueryHeads)
        throw new KvCacheError("invalid-argument", "These sums are of a model of another shape.", {
          value: [earlier.numLayers, earlier.numQueryHeads],
        });
      sums = mergeImportance(sums, earlier);
    },
  };
}

function measured(
  shape: KvShape,
  compare: "value" | "residual" | "slice",
  skipFirst: number,
  observation: Observation,
  batch: KvBatch,
): ImportanceSums {
  const found = noImportance(shape.numLayers, shape.numQueryHeads);
  const { headDim, numQueryHeads } = shape;
  const group = groupSize(shape);
  const count = observation.tokenIds.length;
  for (let layer = 0; layer < shape.numLayers; layer++) {
    const outputs = observation.headOutputs(layer);
    const residual = observation.residual(layer);
    const added = observation.attentionOutput(layer);
    const hidden = residual.length / count;
    for (let i = 0; i < count; i++) {
      const before = residual.subarray(i * hidden, (i + 1) * hidden);
      const after = before.map((value, c) => value + added[i * hidden + c]!);
      note(found.layers, layer, cosine(before, 0, after, 0, hidden));
    }
    for (let head = 0; head < numQueryHeads; head++) {
      const at = (i: number) => (i * numQueryHeads + head) * headDim;
      const inputs =
        compare === "value" && newValues(batch, layer, Math.floor(head / group), observation);
      for (let i = Math.max(0, skipFirst - observation.start); i < count; i++) {
        const result = inputs
          ? inputs[i] && cosine(inputs[i]!, 0, outputs, at(i), headDim)
          : compare === "slice"
            ? cosine(residual, i * hidden + head * headDim, outputs, at(i), headDim)
            : headEffect(batch, layer, head, residual.subarray(i * hidden, (i + 1) * hidden), {
                outputs,
                at: at(i),
              });
        note(found.heads, layer * numQueryHeads + head, result);
      }
    }
  }
  return found;
}

function note(sums: ImportanceSums["heads"], index: number, value: number | undefined): void {
  if (value === undefined) return;
  const [sum, squares, count] = [sums.sum, sums.squares, sums.count] as number[][];
  sum![index] = sum![index]! + value;
  squares![index] = squares![index]! + value * value;
  count![index] = count![index]! + 1;
}

/** Cached values of the pass's tokens, undefined where one was evicted. */
function newValues(batch: KvBatch, layer: number, head: number, { start, tokenIds }: Observation) {
  const view = rowView(batch.host!, batch.sequences[0]!, layer, head);
  const values = gatherValues(view);
  const { headDim } = batch.shape;
  const found = new Array<Float32Array | undefined>(tokenIds.length);
  gatherPositions(view).forEach((position, slot) => {
    const i = position - start;
    if (i >= 0 && i < found.length)
      found[i] = values.subarray(slot * headDim, (slot + 1) * headDim);
  });
  return found;
}

/** Cosine of the residual stream and itself plus what one head adds through W_O. */
function headEffect(
  { model, shape }: KvBatch,
  layer: number,
  head: number,
  residual: Float32Array,
  { outputs, at }: { readonly outputs: Float32Array; readonly at: number },
): number | undefined {
  if (!model)
    throw new KvCacheError("missing-signal", "Nobody knows the model's output projection here.", {
      remedy: "Profile through the engine, or compare values.",
    });
  const { headDim, numQueryHeads } = shape;
  const weight = model.outputWeight(layer);
  const width = numQueryHeads * headDim;
  const after = residual.map((value, channel) => {
    let sum = value;
    const from = channel * width + head * headDim;
    for (let c = 0; c < headDim; c++) sum += weight[from + c]! * outputs[at + c]!;
    return sum;
  });
  return cosine(residual, 0, after, 0, residual.length);
}
