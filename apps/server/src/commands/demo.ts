import { readFileSync } from "node:fs";
import type { GenerationResult, TraceEvent } from "@kvcache/engine";
import { demoDocumentUrl, demoQuestionsUrl } from "@kvcache/model-tiny";
import type { Command } from "commander";
import pc from "picocolors";
import { type Assembled, assemble } from "../assemble.ts";
import { addRunOptions, assembleOptions, type RunOptions } from "../cli-options.ts";
import { guarded } from "../fail.ts";
import { heatMap } from "../heat-map.ts";
import { parsePlan } from "../plan-spec.ts";
import { type Progress, progress } from "../progress.ts";
import { formatBytes } from "../quantities.ts";
import { decodeSpeed } from "../result-line.ts";

interface Question {
  readonly question: string;
  readonly answers: readonly string[];
}

interface DemoPlan {
  readonly name: string;
  /** Plan text; the question is part of what is compressed. */
  readonly plan: string;
  /** Answers that must be right for the demo to succeed. */
  readonly mustAnswer: number;
}

const numQuestions = 5;
/**
 * The model is a measuring instrument; `mustAnswer` says what it gets right under each plan. SnapKV
 * needs the wide pooling: each digit of an answer is fetched from the digit before it.
 */
const plans: readonly DemoPlan[] = [
  { name: "full cache", plan: "full", mustAnswer: numQuestions },
  {
    name: "snap-kv, 1/4",
    plan: "snap-kv:window=32,pooling.size=21@0.25",
    mustAnswer: numQuestions,
  },
  {
    name: "ada-kv, 1/4",
    plan: "ada-kv:window=32,pooling.size=21@0.25",
    mustAnswer: numQuestions - 1,
  },
  {
    name: "kv-compress, 1/8",
    plan: "kv-compress:pooling.size=21@0.125",
    mustAnswer: numQuestions - 1,
  },
  { name: "streaming-llm, 1/4", plan: "streaming-llm@0.25", mustAnswer: 0 },
];

interface PlanOutcome {
  readonly demo: DemoPlan;
  readonly results: readonly GenerationResult[];
  readonly right: readonly boolean[];
  /** Tokens kept per row after the last compression. */
  readonly kept: readonly number[] | undefined;
}

async function answerAll(
  run: Assembled,
  demo: DemoPlan,
  document: string,
  questions: readonly Question[],
  keptOf: () => readonly number[] | undefined,
  bar: Progress,
): Promise<PlanOutcome> {
  const results: GenerationResult[] = [];
  for (const [i, { question }] of questions.entries()) {
    bar.say(`${demo.name}: question ${i + 1} of ${questions.length}`);
    const prompt = { messages: [{ role: "user" as const, content: document + question }] };
    const stream = run.engine.generate({
      prompt,
      plan: parsePlan(demo.plan),
      maxTokens: 16,
      sampling: { temperature: 0 },
    });
    results.push(await stream.result);
  }
  const right = results.map(({ text }, i) =>
    questions[i]!.answers.some((answer) => text.includes(answer)),
  );
  return { demo, results, right, kept: keptOf() };
}

/** Of the answers long enough to have a speed; NaN if none is. */
const medianSpeed = (results: readonly GenerationResult[]): number => {
  const speeds = results.map(decodeSpeed).filter(Number.isFinite);
  return speeds.sort((a, b) => a - b)[speeds.length >> 1] ?? Number.NaN;
};

const formatSpeed = (speed: number) => (Number.isNaN(speed) ? "–" : speed.toFixed(1));

const seconds = ({ timings }: GenerationResult) => `${(timings.ttftMs / 1000).toFixed(2)} s`;

function printTable(outcomes: readonly PlanOutcome[], out: (line: string) => void): void {
  const full = outcomes[0]!.results[0]!.kv.bytesNow;
  out(
    pc.bold(
      "plan                 right   first token, question 1 / later   tokens/s   KV resident (read from the pool)",
    ),
  );
  for (const { demo, results, right } of outcomes) {
    const bytes = results[0]!.kv.bytesNow;
    const count = right.filter(Boolean).length;
    const cells = [
      demo.name.padEnd(20),
      `${count} / ${right.length}`.padEnd(7),
      `${seconds(results[0]!)} / ${seconds(results.at(-1)!)}`.padStart(31),
      formatSpeed(medianSpeed(results)).padStart(10),
      `  ${formatBytes(bytes).padStart(10)}  ${((100 * bytes) / full).toFixed(1).padStart(5)} %`,
    ];
    const line = cells.join(" ");
    out(count < demo.mustAnswer ? pc.red(line) : line);
  }
}

function printAnswers(
  outcomes: readonly PlanOutcome[],
  questions: readonly Question[],
  out: (line: string) => void,
) {
  for (const [i, { question, answers }] of questions.entries()) {
    out(`\n${pc.bold(question)} ${pc.dim(`(${answers.join(", ")})`)}`);
    for (const { demo, results, right } of outcomes)
      out(
        `  ${right[i] ? pc.green("✔") : pc.red("✘")} ${demo.name.padEnd(20)} ${JSON.stringify(results[i]!.text.trim())}`,
      );
  }
}

async function demo(options: RunOptions): Promise<void> {
  const document = readFileSync(demoDocumentUrl, "utf8");
  const questions = JSON.parse(readFileSync(demoQuestionsUrl, "utf8")) as Question[];
  const bar = progress(options.json);
  const out = (line: string) => void process.stdout.write(`${line}\n`);
  let kept: readonly number[] | undefined;
  const sink = (event: TraceEvent) => {
    if (event.type === "compress") kept = event.kept;
  };
  const run = await assemble(
    assembleOptions(
      options,
      plans.map(({ plan }) => parsePlan(plan)),
      {
        maxSequences: 8,
        onProgress: bar.say,
        trace: { sink },
      },
    ),
  );
  const { tokenizer } = run.model;
  const numTokens = tokenizer!.encode(document, { addSpecialTokens: false }).length;
  bar.done(`${run.model.name} on ${run.backend.description}`);
  if (!options.json)
    out(
      `A text of ${numTokens} tokens (The Adventures of Sherlock Holmes, with facts planted in it), ` +
        `${questions.length} questions, ${plans.length} cache plans. The first question reads the text; later ones share its blocks.\n`,
    );
  const outcomes: PlanOutcome[] = [];
  for (const plan of plans) {
    kept = undefined;
    outcomes.push(await answerAll(run, plan, document, questions, () => kept, bar));
  }
  bar.done();
  const failed = outcomes.filter(
    ({ demo, right }) => right.filter(Boolean).length < demo.mustAnswer,
  );

  if (options.json) {
    const rows = outcomes.map(({ demo, results, right, kept }) => ({
      plan: demo.plan,
      right,
      mustAnswer: demo.mustAnswer,
      answers: results.map(({ text }) => text),
      ttftMs: results.map(({ timings }) => timings.ttftMs),
      tokensPerSecond: results.map(decodeSpeed),
      kvBytes: results.map(({ kv }) => kv.bytesNow),
      kept,
    }));
    out(
      JSON.stringify({ backend: run.backend.description, documentTokens: numTokens, plans: rows }),
    );
  } else {
    printTable(outcomes, out);
    printAnswers(outcomes, questions, out);
    for (const { demo, kept, results } of outcomes)
      if (kept) {
        out(`\n${pc.bold(demo.name)}: tokens kept, one column a layer`);
        for (const line of heatMap(kept, run.model.graph.shape, results.at(-1)!.usage.promptTokens))
          out(`  ${line}`);
      }
    for (const { demo, right } of failed)
      process.stderr.write(
        `\n${pc.red("error")} ${demo.name} answered ${right.filter(Boolean).length} of ${right.length}, at least ${demo.mustAnswer} must be right.\n`,
      );
  }
  await run.close();
  process.exitCode = failed.length > 0 ? 1 : 0;
}

export function registerDemo(program: Command): void {
  const command = program
    .command("demo")
    .description("questions about a long text, with the full cache and with compressed ones");
  addRunOptions(command).action(guarded(demo));
}
