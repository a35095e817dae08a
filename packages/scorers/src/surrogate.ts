import {
  defineKernel,
  type Encoder,
  hostArray,
  hostTensor,
  KvCacheError,
  type Scorer,
  type Tensor,
} from "@kvcache/core";
import { gelu, linearRows } from "@kvcache/kernels";
import {
  checkHiddenSize,
  type HiddenRows,
  hiddenScoreObserver,
  readHiddenScores,
} from "./hidden-scores.ts";
import { checkKvZap, type KvZapSurrogate } from "./kv-zap-file.ts";

/**
 * What a small trained map says of each token from its block inputs: the logarithm of the score that
 * KVzip would give it. Works while tokens arrive, decoded ones too. Jégou and Jeblick 2026,
 * arXiv:2601.07891. Throws `invalid-plan` without weights, or with those of another model.
 */
export function surrogate(weights: KvZapSurrogate | null): Scorer {
  const checkShape: NonNullable<Scorer["checkShape"]> = (shape, fingerprint) => {
    if (weights) return checkKvZap(weights, shape, fingerprint);
    throw new KvCacheError("invalid-plan", "KVzap needs the surrogates of the model.", {
      remedy: "Load a published file or train them: see @kvcache/policy-kv-zap.",
    });
  };
  return Object.freeze<Scorer>({
    name: "surrogate",
    options: {
      surrogate: weights && { model: weights.model, fingerprint: weights.fingerprint },
    },
    needs: [{ kind: "hidden" }],
    checkShape,
    createObserver(layout) {
      checkShape(layout.shape);
      return hiddenScoreObserver(layout, (encoder, rows, outs) => {
        recordSurrogate(encoder, weights!, rows, outs);
      });
    },
    score: (encoder, batch, out) => readHiddenScores(encoder, batch, out),
  });
}

function recordSurrogate(
  encoder: Encoder,
  { layers, shape: [, numKvHeads, inputs] }: KvZapSurrogate,
  { layer, hidden, count, hiddenSize }: HiddenRows,
  outs: readonly Tensor[],
): void {
  checkHiddenSize("KVzap surrogates", inputs, hiddenSize);
  const { weight1, bias1, weight2, bias2 } = layers[layer]!;
  const linear = (input: Tensor, weight: Float32Array, bias: Float32Array) => {
    const out = encoder.tensor("f32", count * bias.length);
    encoder.run(linearRows, {
      ...{ input, numRows: count, out },
      weight: hostTensor(weight),
      bias: hostTensor(bias),
    });
    return out;
  };
  let scores = linear(hidden, weight1, bias1);
  if (weight2 && bias2) {
    encoder.run(gelu, { values: scores });
    scores = linear(scores, weight2, bias2);
  }
  encoder.run(splitColumns, { rows: scores, columns: numKvHeads, outs });
}

/** Columns of rows [n, columns], each to a tensor of its own. */
const splitColumns = defineKernel<{
  readonly rows: Tensor;
  readonly columns: number;
  readonly outs: readonly Tensor[];
}>({
  name: "split-columns",
  reference({ rows, columns, outs }) {
    const from = hostArray(rows, "f32");
    outs.forEach((tensor, column) => {
      const out = hostArray(tensor, "f32");
      for (let i = 0; i < out.length; i++) out[i] = from[i * columns + column]!;
    });
  },
});
