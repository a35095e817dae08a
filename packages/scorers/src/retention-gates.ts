import {
  checkFraction,
  checkWholeNumber,
  type Encoder,
  hostTensor,
  KvCacheError,
  type Scorer,
  type Tensor,
} from "@kvcache/core";
import { linearRows, retentionGate } from "@kvcache/kernels";
import { checkRetentionGates, type RetentionGates } from "./fast-kv-zip-file.ts";
import {
  checkHiddenSize,
  type HiddenRows,
  hiddenScoreObserver,
  readHiddenScores,
} from "./hidden-scores.ts";
import { splitRows } from "./position-table.ts";

export interface RetentionGatesOptions {
  /** Of the model; a plan without them is refused. */
  readonly gates: RetentionGates | null;
  /** Last tokens that score above all gates, as a fraction of the sequence. Default 0.02. */
  readonly windowRatio?: number;
  /** The same for sequences of 32,000 tokens and more, in tokens. Default 4096. */
  readonly longWindow?: number;
  /** First tokens, likewise. Default 4. */
  readonly sinks?: number;
  /** Of the RMS norms inside the gates. Default 1e-6. */
  readonly normEpsilon?: number;
}

/** From so many tokens on the window has a fixed length. */
const longSequence = 32_000;
/** Above any gate, which is at most 1. */
const sure = 2;

/**
 * Trained gates that tell from a token's block inputs whether its key and value will be needed.
 * Kim et al. 2026, arXiv:2601.17668. Throws `invalid-plan` without gates, or with those of another
 * model.
 */
export function retentionGates(options: RetentionGatesOptions): Scorer {
  const { gates, windowRatio = 0.02, longWindow = 4096, sinks = 4, normEpsilon = 1e-6 } = options;
  checkFraction("windowRatio", windowRatio);
  checkWholeNumber("longWindow", longWindow, 0);
  checkWholeNumber("sinks", sinks, 0);
  const checkShape: NonNullable<Scorer["checkShape"]> = (shape, fingerprint) => {
    if (gates) return checkRetentionGates(gates, shape, fingerprint);
    throw new KvCacheError("invalid-plan", "Fast KVzip needs the gates of the model.", {
      remedy: "Load a published file: see @kvcache/policy-fast-kv-zip.",
    });
  };
  const window = (next: number) =>
    next < longSequence ? Math.max(1, Math.trunc(next * windowRatio)) : longWindow;
  return Object.freeze<Scorer>({
    name: "retention-gates",
    options: {
      gates: gates && { model: gates.model, fingerprint: gates.fingerprint },
      ...{ windowRatio, longWindow, sinks, normEpsilon },
    },
    needs: [{ kind: "hidden" }],
    checkShape,
    createObserver(layout) {
      checkShape(layout.shape);
      return hiddenScoreObserver(layout, (encoder, rows, outs) => {
        recordGates(encoder, gates!, normEpsilon, rows, outs);
      });
    },
    score: (encoder, batch, out) =>
      readHiddenScores(encoder, batch, out, (score, position, next) =>
        position < sinks || position >= next - window(next) ? sure : score,
      ),
  });
}

function recordGates(
  encoder: Encoder,
  { tensors, numLayers, hiddenSize: inputs }: RetentionGates,
  normEpsilon: number,
  { layer, hidden, count, hiddenSize }: HiddenRows,
  outs: readonly Tensor[],
): void {
  checkHiddenSize("retention gates", inputs, hiddenSize);
  const own = (name: keyof RetentionGates["tensors"]) => {
    const size = tensors[name].length / numLayers;
    return hostTensor(tensors[name].subarray(layer * size, (layer + 1) * size));
  };
  const linear = (weight: Tensor, bias?: Tensor) => {
    const out = encoder.tensor("f32", (count * weight.length) / hiddenSize);
    encoder.run(linearRows, { input: hidden, numRows: count, weight, ...(bias && { bias }), out });
    return out;
  };
  const gated = encoder.tensor("f32", outs.length * count);
  encoder.run(retentionGate, {
    queries: linear(own("gateQueryWeight"), own("gateQueryBias")),
    keys: linear(own("gateKeyWeight")),
    numTokens: count,
    queryNorm: own("gateQueryNorm"),
    keyNorm: own("gateKeyNorm"),
    normEpsilon,
    baseKeys: own("gateBase"),
    bias: own("gateBias"),
    heads: outs.length,
    out: gated,
  });
  encoder.run(splitRows, { rows: gated, outs });
}
