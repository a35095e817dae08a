import type { Runner } from "@kvcache/engine";
import { evaluateSample } from "./evaluate-sample.ts";
import { type EvalRecord, recordKey } from "./record.ts";
import type { EvalSample } from "./sample.ts";
import type { EvalVariant } from "./variant.ts";

export interface EvaluateOptions {
  readonly samples: readonly EvalSample[];
  readonly variants: readonly EvalVariant[];
  readonly questions: readonly ("hidden" | "visible")[];
  /** Records of an earlier run that was cut short: their work is not done again. */
  readonly done?: readonly EvalRecord[];
  readonly maxForks?: number;
  readonly onProgress?: (progress: EvalProgress) => void;
  readonly signal?: AbortSignal;
}

export interface EvalProgress {
  /** Work done and to do, in prompt tokens (or whatever unit samples' lengths are in). */
  readonly done: number;
  readonly total: number;
  readonly sample: string;
  /** Seconds left at the speed so far; undefined before there is one. */
  readonly secondsLeft: number | undefined;
}

/**
 * Evaluates every variant on every sample, sample by sample, and yields the records of each as soon
 * as it is done. Ends early, without an error, when `signal` fires: the records so far stand.
 */
export async function* evaluate(
  runner: Runner,
  { samples, variants, questions, done = [], maxForks, onProgress, signal }: EvaluateOptions,
): AsyncGenerator<readonly EvalRecord[]> {
  const known = new Set(done.map(recordKey));
  const work = samples.flatMap((sample) =>
    questions.flatMap((question) => {
      const left = variants.filter(
        ({ policy, budget }) => !known.has(recordKey({ id: sample.id, question, policy, budget })),
      );
      return left.length > 0 ? [{ sample, question, variants: left }] : [];
    }),
  );
  const total = work.reduce((sum, { sample }) => sum + sample.length, 0);
  const began = performance.now();
  let finished = 0;
  for (const { sample, question, variants: left } of work) {
    if (signal?.aborted) return;
    const perUnit = finished > 0 ? (performance.now() - began) / finished : undefined;
    onProgress?.({
      done: finished,
      total,
      sample: `${sample.id}, question ${question}`,
      secondsLeft: perUnit && ((total - finished) * perUnit) / 1000,
    });
    yield await evaluateSample(runner, sample, {
      question,
      variants: left,
      ...(maxForks === undefined ? {} : { maxForks }),
    });
    finished += sample.length;
  }
}
