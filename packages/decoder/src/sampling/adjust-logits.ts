import { KvCacheError } from "@kvcache/core";
import type { SamplingParams } from "./sampling-params.ts";

/** The tokens that penalties look at. */
export interface TokenHistory {
  readonly promptIds: ArrayLike<number>;
  readonly generatedIds: ArrayLike<number>;
}

/**
 * Logits [vocabSize] after bias and penalties: `logits` themselves where neither changes anything,
 * otherwise a copy. In this order: bias; repetition penalty r, once for every distinct id of prompt
 * and answer, x < 0 ? x * r : x / r; frequency and presence penalty, over the answer only,
 * x - f * count - p. Ids beyond the vocabulary are an `invalid-argument`.
 */
export function adjustLogits(
  logits: Float32Array,
  params: SamplingParams,
  { promptIds, generatedIds }: TokenHistory,
): Float32Array {
  const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0, logitBias } = params;
  const counts = frequencyPenalty !== 0 || presencePenalty !== 0;
  const biases = Object.entries(logitBias ?? {});
  if (biases.length === 0 && repetitionPenalty === 1 && !counts) return logits;

  const out = logits.slice();
  for (const [id, bias] of biases) out[checkId(Number(id), out)]! += bias;
  if (repetitionPenalty !== 1) {
    const seen = new Set<number>();
    for (let i = 0; i < promptIds.length; i++) seen.add(promptIds[i]!);
    for (let i = 0; i < generatedIds.length; i++) seen.add(generatedIds[i]!);
    for (const id of seen) {
      const logit = out[checkId(id, out)]!;
      out[id] = logit < 0 ? logit * repetitionPenalty : logit / repetitionPenalty;
    }
  }
  if (counts) {
    const occurrences = new Map<number, number>();
    for (let i = 0; i < generatedIds.length; i++) {
      const id = generatedIds[i]!;
      occurrences.set(id, (occurrences.get(id) ?? 0) + 1);
    }
    for (const [id, count] of occurrences) {
      out[checkId(id, out)]! -= frequencyPenalty * count + presencePenalty;
    }
  }
  return out;
}

function checkId(id: number, logits: Float32Array): number {
  if (id >= 0 && id < logits.length) return id;
  throw new KvCacheError("invalid-argument", `Token id ${id} is not in the vocabulary.`, {
    value: id,
    remedy: `Use ids from 0 to ${logits.length - 1}.`,
  });
}
