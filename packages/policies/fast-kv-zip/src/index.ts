import { kvZip } from "@kvcache/budget-kv-zip";
import { definePolicy } from "@kvcache/core";
import { type RetentionGates, retentionGates } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export {
  convertRetentionGates,
  convertRetentionGatesFile,
  type FileTensor,
  type RetentionGates,
  readRetentionGates,
  readTensorFile,
  writeRetentionGates,
} from "@kvcache/scorers";

export interface FastKVzipOptions {
  /** Of the model that the policy serves; a plan without them is refused. */
  readonly gates?: RetentionGates | null;
  /** Every layer keeps the same, in place of one total for the whole model. */
  readonly layerwise?: boolean;
  /** First tokens, never evicted. */
  readonly sinks?: number;
  /** Last tokens that come before all others, as a fraction of the sequence. */
  readonly windowRatio?: number;
  /** The same from 32,000 tokens on, in tokens. */
  readonly longWindow?: number;
  /** Of the RMS norms inside the gates. */
  readonly normEpsilon?: number;
}

/**
 * Fast KVzip — keep what trained gates open for.
 * A gate per layer compares a token's key with base keys for each query head of its group; all
 * heads of the model compete for one total.
 * Kim et al. 2026, arXiv:2601.17668. Differs from the paper: eviction once the prompt is cached, not
 * while it is prefilled, as kvpress does.
 */
export const fastKVzip = (options: FastKVzipOptions = {}) => {
  const { gates = null, layerwise = false, ...rest } = options;
  const { sinks = 4, windowRatio = 0.02, longWindow = 4096, normEpsilon = 1e-6 } = rest;
  const scorer = retentionGates({ gates, sinks, windowRatio, longWindow, normEpsilon });
  return definePolicy({
    name: "fast-kv-zip",
    paper: "arXiv:2601.17668",
    scorer,
    budget: kvZip({ scope: layerwise ? "layer" : "model" }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks, recent: 0 },
    queryAware: false,
    options: { ...scorer.options, layerwise },
  });
};
