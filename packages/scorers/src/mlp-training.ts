import { checkWholeNumber } from "@kvcache/core";
import { dotRows, normalDistribution } from "@kvcache/kernels";
import type { SurrogateLayer } from "./kv-zap-file.ts";
import { uniformNumbers } from "./uniform-numbers.ts";

export interface MlpTrainingOptions {
  /** Width between the two maps. Default 512. */
  readonly width?: number;
  readonly epochs?: number;
  /** At the start; it falls to 0 along a cosine. Default 0.005. */
  readonly learningRate?: number;
  readonly batchSize?: number;
  /** Decoupled, as in AdamW. Default 0.01. */
  readonly weightDecay?: number;
  /** Longest gradient. Default 1. */
  readonly maxGradient?: number;
  /** Of the first weights and of the order of examples. Default 0. */
  readonly seed?: number;
  /** Told the mean squared error of each epoch. */
  readonly onEpoch?: (epoch: number, error: number) => void;
}

export interface Examples {
  readonly count: number;
  /** f32 [count, numInputs]. */
  readonly inputs: Float32Array;
  /** f32 [count, numTargets]. */
  readonly targets: Float32Array;
}

/**
 * Trains weight2 · gelu(weight1 x + bias1) + bias2 for the least mean squared error, by AdamW
 * (Loshchilov and Hutter 2019, arXiv:1711.05101). Deterministic for a seed.
 */
export function trainMlp(examples: Examples, options: MlpTrainingOptions = {}): SurrogateLayer {
  const { width = 512, epochs = 15, learningRate = 5e-3, batchSize = 512, seed = 0 } = options;
  const { weightDecay = 0.01, maxGradient = 1, onEpoch } = options;
  checkWholeNumber("width", width, 1);
  checkWholeNumber("epochs", epochs, 1);
  checkWholeNumber("batchSize", batchSize, 1);
  const numInputs = examples.inputs.length / examples.count;
  const numTargets = examples.targets.length / examples.count;
  const random = uniformNumbers(seed);
  const parameters = [
    uniformWithin(random, width * numInputs, numInputs),
    uniformWithin(random, width, numInputs),
    uniformWithin(random, numTargets * width, width),
    uniformWithin(random, numTargets, width),
  ] as const;
  const optimiser = adamW(parameters, { weightDecay, maxGradient });
  const order = Uint32Array.from({ length: examples.count }, (_, i) => i);
  for (let epoch = 0; epoch < epochs; epoch++) {
    shuffle(order, random);
    const rate = (learningRate * (1 + Math.cos((Math.PI * epoch) / epochs))) / 2;
    let error = 0;
    for (let from = 0; from < order.length; from += batchSize) {
      const chosen = order.subarray(from, from + batchSize);
      const step = gradients(parameters, examples, chosen, { width, numInputs, numTargets });
      error += step.error;
      optimiser.step(step.gradients, rate);
    }
    onEpoch?.(epoch, error / (examples.count * numTargets));
  }
  const [weight1, bias1, weight2, bias2] = parameters.map((values) => Float32Array.from(values));
  return { weight1: weight1!, bias1: bias1!, weight2: weight2!, bias2: bias2! };
}

type Arrays = readonly [Float64Array, Float64Array, Float64Array, Float64Array];

interface Sizes {
  readonly width: number;
  readonly numInputs: number;
  readonly numTargets: number;
}

/** Sum of squared errors of a batch, and gradients of their mean. */
function gradients(
  [weight1, bias1, weight2, bias2]: Arrays,
  { inputs, targets }: Examples,
  chosen: Uint32Array,
  { width, numInputs, numTargets }: Sizes,
): { readonly error: number; readonly gradients: Arrays } {
  const count = chosen.length;
  const rows = new Float64Array(count * numInputs);
  const columns = new Float64Array(count * numInputs);
  chosen.forEach((example, i) => {
    for (let c = 0; c < numInputs; c++)
      columns[c * count + i] = rows[i * numInputs + c] = inputs[example * numInputs + c]!;
  });
  /** [width, count], as all that belongs to the middle. */
  const before = new Float64Array(width * count);
  const into = { data: before, stride: count };
  const matrix = { data: weight1, stride: numInputs };
  dotRows(matrix, width, { data: rows, stride: numInputs }, count, numInputs, into);
  const active = new Float64Array(before.length);
  for (let w = 0, at = 0; w < width; w++)
    for (let i = 0; i < count; i++, at++) {
      before[at] = before[at]! + bias1[w]!;
      active[at] = before[at]! * normalDistribution(before[at]!);
    }
  let error = 0;
  const gradient2 = new Float64Array(weight2.length);
  const biasGradient2 = new Float64Array(numTargets);
  const back = new Float64Array(before.length);
  for (let t = 0; t < numTargets; t++) {
    const off = new Float64Array(count).fill(bias2[t]!);
    for (let w = 0, at = 0; w < width; w++)
      for (let i = 0; i < count; i++, at++) off[i]! += weight2[t * width + w]! * active[at]!;
    for (let i = 0; i < count; i++) {
      const difference = off[i]! - targets[chosen[i]! * numTargets + t]!;
      error += difference * difference;
      off[i] = (2 * difference) / (count * numTargets);
      biasGradient2[t]! += off[i]!;
    }
    for (let w = 0, at = 0; w < width; w++)
      for (let i = 0; i < count; i++, at++) {
        gradient2[t * width + w]! += off[i]! * active[at]!;
        back[at]! += off[i]! * weight2[t * width + w]!;
      }
  }
  const biasGradient1 = new Float64Array(width);
  for (let w = 0, at = 0; w < width; w++)
    for (let i = 0; i < count; i++, at++) {
      back[at]! *= geluSlope(before[at]!);
      biasGradient1[w]! += back[at]!;
    }
  const gradient1 = new Float64Array(weight1.length);
  const backRows = { data: back, stride: count };
  const inputColumns = { data: columns, stride: count };
  const sums = { data: gradient1, stride: numInputs };
  dotRows(backRows, width, inputColumns, numInputs, count, sums);
  return { error, gradients: [gradient1, biasGradient1, gradient2, biasGradient2] };
}

const geluSlope = (x: number): number =>
  normalDistribution(x) + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI);

/** Adam with decoupled weight decay; gradients longer than `maxGradient` are shortened to it. */
function adamW(
  parameters: Arrays,
  { weightDecay, maxGradient }: { readonly weightDecay: number; readonly maxGradient: number },
) {
  const means = parameters.map((values) => new Float64Array(values.length));
  const squares = parameters.map((values) => new Float64Array(values.length));
  let steps = 0;
  return {
    step(all: Arrays, rate: number): void {
      steps++;
      let length = 0;
      for (const gradient of all) for (const g of gradient) length += g * g;
      const factor = Math.min(1, maxGradient / (Math.sqrt(length) + 1e-6));
      const [meanBias, squareBias] = [1 - 0.9 ** steps, 1 - 0.999 ** steps];
      all.forEach((gradient, k) => {
        const [values, mean, square] = [parameters[k]!, means[k]!, squares[k]!];
        for (let i = 0; i < values.length; i++) {
          const g = gradient[i]! * factor;
          mean[i] = 0.9 * mean[i]! + 0.1 * g;
          square[i] = 0.999 * square[i]! + 0.001 * g * g;
          const size = Math.sqrt(square[i]! / squareBias) + 1e-8;
          const change = mean[i]! / meanBias / size + weightDecay * values[i]!;
          values[i] = values[i]! - rate * change;
        }
      });
    },
  };
}

/** Within ± 1 / √inputs, as such layers usually begin. */
const uniformWithin = (random: () => number, length: number, inputs: number): Float64Array =>
  Float64Array.from({ length }, () => (2 * random() - 1) / Math.sqrt(inputs));

function shuffle(order: Uint32Array, random: () => number): void {
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
}
