import {
  type Encoder,
  type EvictionPolicy,
  KvCacheError,
  type SequenceSlot,
  sum,
  type Tensor,
} from "@kvcache/core";
import type { Runner } from "@kvcache/engine";
import { answerForks } from "./answer-forks.ts";
import { type CapturedKeep, captureKeeps } from "./capture-keeps.ts";
import { type EvalPrompt, evalPrompt } from "./eval-prompt.ts";
import { prefillGroups } from "./prefill-groups.ts";
import type { EvalRecord } from "./record.ts";
import type { EvalSample } from "./sample.ts";
import { scoreAnswer } from "./score-answer.ts";
import type { EvalVariant } from "./variant.ts";

export interface EvaluateSampleOptions {
  readonly question: "hidden" | "visible";
  readonly variants: readonly EvalVariant[];
  /** Compressed copies that are held at once. Default 16. */
  readonly maxForks?: number;
}

/**
 * Runs one sample under every variant: the prompt is computed once for all whose signals can be
 * gathered together, scored once a policy, and every variant goes on with a copy of the cache that
 * holds what it keeps and nothing else. A compression while decoding does not take place: answers
 * are short. Throws `unsupported` for a cache that is not host memory.
 */
export async function evaluateSample(
  runner: Runner,
  sample: EvalSample,
  { question, variants, maxForks = 16 }: EvaluateSampleOptions,
): Promise<EvalRecord[]> {
  const { cache, model } = runner.runtime;
  if (!cache.host)
    throw new KvCacheError("unsupported", "Evaluations need a cache in host memory.", {
      remedy: "Use the backend ort or reference.",
    });
  const prompt = evalPrompt(model, sample, question);
  const records: EvalRecord[] = [];
  for (const group of prefillGroups(variants)) {
    const capture = captureKeeps(group);
    const sequence = runner.open({ eviction: { policy: capture.policy, target: { ratio: 1 } } });
    try {
      await sequence.prefill(prompt.cached);
      if (group.some(({ eviction }) => eviction)) await sequence.compress();
      const taken = capture.taken();
      const keepOf = (variant: EvalVariant) => {
        const keep = taken?.keeps.find((captured) => captured.variant === variant);
        return keep && { encoder: taken!.encoder, keep };
      };
      for (let i = 0; i < group.length; i += maxForks) {
        const arms: Arm[] = [];
        try {
          for (const variant of group.slice(i, i + maxForks))
            arms.push(await openArm(runner, sequence.slot, variant, keepOf(variant)));
          records.push(...(await finish(runner, sample, question, prompt, arms)));
        } finally {
          for (const { slot } of arms) cache.close(slot);
        }
      }
    } finally {
      sequence.close();
    }
  }
  return records;
}

/** A copy of the prompt's sequence that holds what its variant keeps. */
interface Arm {
  readonly variant: EvalVariant;
  readonly slot: SequenceSlot;
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  readonly kept: readonly number[];
  readonly keptFraction: number;
}

async function openArm(
  { runtime }: Runner,
  prompt: SequenceSlot,
  variant: EvalVariant,
  captured: { readonly encoder: Encoder; readonly keep: CapturedKeep } | undefined,
): Promise<Arm> {
  const { cache } = runtime;
  const before = cache.sequenceStats(prompt);
  const slot = cache.fork(prompt);
  try {
    if (captured && variant.eviction)
      await keepOnly(runtime, slot, variant.eviction.policy, captured.encoder, captured.keep);
  } catch (error) {
    cache.close(slot);
    throw error;
  }
  const after = cache.sequenceStats(slot);
  return {
    variant,
    slot,
    bytesBefore: before.residentBytes,
    bytesAfter: after.residentBytes,
    kept: Array.from(after.lengths),
    keptFraction: sum(after.lengths) / sum(before.lengths),
  };
}

/** Evicts from a copy what its policy does not keep. */
async function keepOnly(
  { cache, encoder: newEncoder, view }: Runner["runtime"],
  slot: SequenceSlot,
  { protect, transform }: EvictionPolicy,
  source: Encoder,
  captured: CapturedKeep,
): Promise<void> {
  const encoder = newEncoder();
  const copy = async (tensor: Tensor) => encoder.upload(await source.read(tensor));
  const keep = {
    indptr: await copy(captured.keep.indptr),
    indices: await copy(captured.keep.indices),
  };
  if (transform) cache.unshare(slot);
  const batch = cache.batch([slot], { protect, phase: "prefill", model: view });
  transform?.apply(encoder, batch, keep, await copy(captured.scores));
  await encoder.submit();
  await cache.compact(encoder, batch, keep);
  if (!transform?.nextPosition) return;
  const { lengths, nextPosition } = cache.sequenceStats(slot);
  cache.host!.nextPositions[slot] = transform.nextPosition(Math.max(...lengths), nextPosition);
}

async function finish(
  { runtime }: Runner,
  { id, task, length, turns }: EvalSample,
  question: EvalRecord["question"],
  prompt: EvalPrompt,
  arms: readonly Arm[],
): Promise<EvalRecord[]> {
  const slots = arms.map(({ slot }) => slot);
  const answers = await answerForks(runtime, slots, prompt);
  return arms.map(({ variant, slot: _, ...stored }, i) => {
    const { nll, tokenIds } = answers[i]!;
    const answer = runtime.model.tokenizer!.decode(Int32Array.from(tokenIds));
    return {
      version: 1,
      id,
      task,
      length,
      question,
      policy: variant.policy,
      budget: variant.budget,
      score: scoreAnswer(task, answer, turns[0]!.answers),
      nll,
      answer,
      promptTokens: prompt.cached.length,
      ...stored,
    };
  });
}
