import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { KvCacheError } from "@kvcache/core";
import {
  type EvalRecord,
  type EvalSample,
  type EvalVariant,
  evaluate,
  fullCache,
  parseRecords,
  parseSamples,
  summarise,
} from "@kvcache/evals";
import { tasksUrl } from "@kvcache/model-tiny";
import type { Command } from "commander";
import { splitList } from "../arguments.ts";
import { assembleRunner } from "../assemble.ts";
import { addRunOptions, assembleOptions, type RunOptions } from "../cli-options.ts";
import { fromCommandLine, guarded } from "../fail.ts";
import { parsePlan } from "../plan-spec.ts";
import { progress } from "../progress.ts";
import { textOf } from "../prompt-source.ts";
import { formatDuration } from "../quantities.ts";

interface Options extends RunOptions {
  readonly tasks: string;
  readonly policies: string;
  readonly ratios: string;
  readonly question: "hidden" | "visible" | "both";
  readonly maxLength: string;
  readonly limit?: string;
  readonly out?: string;
  readonly fresh?: boolean;
}

/**
 * "a,b(c=1,d=2)" × ".5,.2" → every policy with every budget, the full cache first. A policy that
 * decides itself how much it keeps comes once.
 */
export function variantsOf(policies: string, ratios: string): EvalVariant[] {
  const budgets = splitList(ratios);
  const variants = splitList(policies).flatMap((policy): readonly EvalVariant[] => {
    if (policy === "full") return [fullCache];
    const plans = budgets.map((budget) => ({ budget, plan: parsePlan(policy, budget) }));
    // One policy object: its scores serve all budgets.
    const shared = plans[0]!.plan.eviction!.policy;
    if (shared.budget.withoutTarget !== undefined)
      return [{ policy, budget: "1", eviction: { policy: shared, target: { ratio: 1 } } }];
    return plans.map(({ budget, plan }) => ({
      policy,
      budget,
      eviction: { policy: shared, target: plan.eviction!.target },
    }));
  });
  return variants.includes(fullCache) ? variants : [fullCache, ...variants];
}

function samplesOf({ tasks, maxLength, limit }: Options): EvalSample[] {
  const shipped = tasks === "tiny";
  const text = shipped ? readFileSync(fileURLToPath(tasksUrl), "utf8") : textOf(tasks);
  const longest = Number(maxLength);
  const samples = parseSamples(text, shipped ? "the tasks of model-tiny" : tasks).filter(
    ({ length }) => length <= longest,
  );
  if (samples.length === 0)
    throw new KvCacheError("invalid-argument", `No sample is at most ${maxLength} tokens long.`, {
      value: maxLength,
      remedy: "Raise --max-length.",
    });
  // Spread over the file, so that a few samples still show every task and length.
  const count = Math.min(samples.length, limit === undefined ? samples.length : Number(limit));
  return Array.from(
    { length: count },
    (_, i) => samples[Math.floor((i * samples.length) / count)]!,
  );
}

/** Records of an earlier run of the same output file; the file is cut to whole lines. */
function earlierRecords(path: string | undefined, fresh: boolean): EvalRecord[] {
  if (path === undefined || !existsSync(path) || fresh) {
    if (path !== undefined) writeFileSync(path, "");
    return [];
  }
  const records = parseRecords(readFileSync(path, "utf8"), path);
  writeFileSync(path, records.map((record) => `${JSON.stringify(record)}\n`).join(""));
  return records;
}

async function evaluateTasks(options: Options): Promise<void> {
  const { samples, variants } = fromCommandLine(() => ({
    samples: samplesOf(options),
    variants: variantsOf(options.policies, options.ratios),
  }));
  const questions =
    options.question === "both" ? (["hidden", "visible"] as const) : [options.question];
  const records = earlierRecords(options.out, options.fresh ?? false);
  const bar = progress(options.json);
  const forks = 16;
  const plans = variants.flatMap(({ eviction }) => (eviction ? [{ eviction }] : []));
  const run = await assembleRunner(
    assembleOptions({ ...options, kvMemory: options.kvMemory ?? "3GiB" }, plans, {
      maxSequences: forks + 2,
      onProgress: bar.say,
    }),
  );
  bar.done(`${run.model.name} on ${run.backend.description}`);
  if (records.length > 0) process.stderr.write(`${records.length} records are there already\n`);
  const abort = new AbortController();
  process.once("SIGINT", () => abort.abort());
  const steps = evaluate(run.runner, {
    samples,
    variants,
    questions,
    done: records,
    maxForks: forks,
    signal: abort.signal,
    onProgress: ({ done, total, sample, secondsLeft }) =>
      bar.say(
        `${sample}: ${Math.floor((100 * done) / total)} %` +
          (secondsLeft === undefined ? "" : `, ${formatDuration(secondsLeft)} left`),
      ),
  });
  for await (const made of steps) {
    records.push(...made);
    if (options.out)
      appendFileSync(options.out, made.map((record) => `${JSON.stringify(record)}\n`).join(""));
  }
  bar.done();
  await run.close();
  if (options.json) process.stdout.write(`${JSON.stringify(summarise(records))}\n`);
  else printTable(records);
  if (abort.signal.aborted) {
    process.stderr.write("interrupted; the same command goes on from here\n");
    process.exitCode = 130;
  }
}

function printTable(records: readonly EvalRecord[]): void {
  const width = Math.max(12, ...records.map(({ policy }) => policy.length));
  const line = (cells: readonly string[]) =>
    process.stdout.write(
      `${cells[0]!.padEnd(width)}  ${cells
        .slice(1)
        .map((c) => c.padStart(9))
        .join(" ")}\n`,
    );
  line(["policy", "budget", "question", "samples", "kept", "score", "NLL"]);
  for (const { policy, budget, question, samples, keptFraction, score, nll } of summarise(records))
    line([
      policy,
      budget,
      question,
      String(samples),
      `${(100 * keptFraction).toFixed(1)} %`,
      score.toFixed(1),
      nll.toFixed(3),
    ]);
}

export function registerEval(program: Command): void {
  const command = program
    .command("eval")
    .description("measure how well plans answer on long-context tasks")
    .option("--tasks <file>", 'samples as JSONL; "tiny" = those that ship with model-tiny', "tiny")
    .option("--policies <list>", "policies, separated by commas", "snap-kv,ada-kv,streaming-llm")
    .option("--ratios <list>", "budgets, separated by commas", ".5,.25,.1")
    .option("--question <when>", "hidden or visible while compressing, or both", "visible")
    .option("--max-length <tokens>", "leave longer samples out", "8192")
    .option("--limit <n>", "only so many samples, spread over the file")
    .option("--out <file>", "records as JSONL; an interrupted run goes on where it stopped")
    .option("--fresh", "begin the output file anew");
  addRunOptions(command).action(guarded(evaluateTasks));
}
