import type { CachePlan, Scorer } from "@kvcache/core";
import type { Runner, Runtime, SequenceRunner } from "@kvcache/engine";
import { evalPrompt } from "../eval-prompt.ts";
import type { EvalSample } from "../sample.ts";
import { scoreAnswer } from "../score-answer.ts";

/** Runs a sample's whole chat, with the question and the gold answer, under a scorer's observer. */
export async function observeSample(
  runner: Runner,
  scorer: Scorer,
  sample: EvalSample,
): Promise<void> {
  const { cached, rest, answer } = evalPrompt(runner.runtime.model, sample, "visible");
  await observed(runner, scorer, (sequence) => sequence.prefill([...cached, ...rest, ...answer]));
}

/** Runs a sample's context, compresses as the plan says, and forgets it: for what scorers gather. */
export async function compressSample(
  runner: Runner,
  plan: CachePlan,
  sample: EvalSample,
): Promise<void> {
  const { cached } = evalPrompt(runner.runtime.model, sample, "hidden");
  const sequence = runner.open(plan);
  try {
    await sequence.prefill(cached);
    await sequence.compress();
  } finally {
    sequence.close();
  }
}

/** Where the text that answers a sample stands in its prompt, in tokens. */
export interface AnswerPlace {
  readonly needle: { readonly from: number; readonly to: number };
  readonly promptLength: number;
}

/**
 * Has a sample answered greedily under a scorer's observer, with a full cache; true where the answer
 * is right. `begin` is told where the answer stands. Undefined, and nothing runs, where the sample
 * does not have one answer that stands at one place of its context.
 */
export async function answerObserved(
  runner: Runner,
  scorer: Scorer,
  sample: EvalSample,
  begin: (place: AnswerPlace) => void,
): Promise<boolean | undefined> {
  const { model } = runner.runtime;
  const needle = needleOf(model, sample);
  if (!needle) return undefined;
  const { cached, rest, answer } = evalPrompt(model, sample, "visible");
  const prompt = [...cached, ...rest];
  begin({ needle, promptLength: prompt.length });
  const { eosTokenIds } = model.generationConfig;
  return observed(runner, scorer, async (sequence) => {
    await sequence.prefill(prompt);
    const ids = [...(await sequence.greedy(answer.length + 6, eosTokenIds))];
    if (eosTokenIds.includes(ids.at(-1)!)) ids.pop();
    const text = model.tokenizer!.decode(Int32Array.from(ids));
    return scoreAnswer(sample.task, text, sample.turns[0]!.answers) === 1;
  });
}

async function observed<Result>(
  runner: Runner,
  scorer: Scorer,
  run: (sequence: SequenceRunner) => Promise<Result>,
): Promise<Result> {
  const observer = scorer.createObserver?.(runner.runtime.cache.layout);
  const sequence = runner.open({}, observer ? { observer } : {});
  try {
    return await run(sequence);
  } finally {
    sequence.close();
  }
}

function needleOf(
  model: Runtime["model"],
  { context, turns }: EvalSample,
): AnswerPlace["needle"] | undefined {
  const [answer, ...others] = turns[0]!.answers;
  const at = context.indexOf(answer!);
  if (others.length > 0 || at < 0 || context.indexOf(answer!, at + 1) >= 0) return undefined;
  const tokenizer = model.tokenizer!;
  const contextIds = [...tokenizer.encode(context, { addSpecialTokens: false })];
  const empty = {
    id: "",
    task: "",
    length: 0,
    context: "",
    turns: [{ question: "", answers: [] }],
  };
  const before = evalPrompt(model, empty, "hidden").cached.length;
  const bytes = (text: string) => new TextEncoder().encode(text).length;
  const [begin, end] = [bytes(context.slice(0, at)), bytes(context.slice(0, at + answer!.length))];
  let offset = 0;
  let from = -1;
  for (const [i, id] of contextIds.entries()) {
    const next = offset + (tokenizer.tokenBytes(id)?.length ?? 0);
    if (from < 0 && next > begin) from = i;
    if (next >= end) return { from: before + from, to: before + i + 1 };
    offset = next;
  }
  return undefined;
}
