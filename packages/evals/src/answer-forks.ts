import type { SequenceSlot } from "@kvcache/core";
import type { Runtime } from "@kvcache/engine";
import type { EvalPrompt } from "./eval-prompt.ts";
import { argmax, negativeLogLikelihood } from "./log-likelihood.ts";

/** How a compressed sequence went on. */
export interface ForkAnswer {
  /** −log p per token of the gold answer. */
  readonly nll: number;
  /** Greedy, without the token that ended it. */
  readonly tokenIds: readonly number[];
}

/** Tokens of one step at most: logits of that many rows are held at once. */
const maxStepTokens = 1024;

/**
 * Goes on with several sequences that hold the same prompt, each with other entries kept: feeds the
 * rest and the gold answer for its likelihood, goes back, and answers greedily, all of them in one
 * batch. An answer ends at a stop token, or six tokens past the gold answer's length.
 */
export async function answerForks(
  runtime: Runtime,
  slots: readonly SequenceSlot[],
  { rest, answer }: EvalPrompt,
): Promise<ForkAnswer[]> {
  const { cache, model } = runtime;
  const { vocabSize } = model.graph;
  const stopIds = new Set(model.generationConfig.eosTokenIds);
  // A policy that renumbers what it keeps goes on earlier than the others.
  const starts = slots.map((slot) => cache.sequenceStats(slot).nextPosition);
  const fed = [...rest, ...answer.slice(0, -1)];

  const nlls: number[] = [];
  const next: number[] = [];
  const perStep = Math.max(1, Math.floor(maxStepTokens / fed.length));
  for (let i = 0; i < slots.length; i += perStep) {
    const group = slots.slice(i, i + perStep);
    const positions = starts.slice(i, i + perStep);
    const logits = await feed(runtime, group, () => fed, positions, "all");
    group.forEach((_, g) => {
      const from = (g * fed.length + rest.length - 1) * vocabSize;
      const rows = logits.subarray(from, from + answer.length * vocabSize);
      nlls.push(negativeLogLikelihood(rows, answer, vocabSize) / answer.length);
      next.push(argmax(rows.subarray(0, vocabSize)));
    });
    group.forEach((slot, g) => {
      cache.truncate(slot, positions[g]! + rest.length);
    });
  }

  const answers: number[][] = slots.map(() => []);
  let open = slots.map((_, i) => i);
  for (let step = 0; step < answer.length + 6; step++) {
    open = open.filter((i) => !stopIds.has(next[i]!));
    for (const i of open) answers[i]!.push(next[i]!);
    if (open.length === 0 || step === answer.length + 5) break;
    const group = open.map((i) => slots[i]!);
    const logits = await feed(
      runtime,
      group,
      (g) => [next[open[g]!]!],
      open.map((i) => starts[i]! + rest.length + step),
      "last",
    );
    open.forEach((i, g) => {
      next[i] = argmax(logits.subarray(g * vocabSize, (g + 1) * vocabSize));
    });
  }
  return nlls.map((nll, i) => ({ nll, tokenIds: answers[i]! }));
}

/** Feeds tokens to several sequences in one step, each at its own position. */
async function feed(
  { cache, forward }: Runtime,
  slots: readonly SequenceSlot[],
  idsOf: (index: number) => readonly number[],
  positions: readonly number[],
  wanted: "all" | "last",
): Promise<Float32Array> {
  const { logits } = await forward(
    slots.map((slot, i) => {
      const ids = Int32Array.from(idsOf(i));
      const position = positions[i]!;
      cache.append(slot, ids.length);
      return {
        slot,
        ids,
        ropeLengths: new Int32Array(ids.length).fill(position + ids.length),
        from: 0,
        count: ids.length,
        position,
        signalFlags: 0,
        attentionBuffer: 0,
        logits: wanted,
      };
    }),
  );
  return logits;
}
