import { type CachePlan, KvCacheError, type WeightFormat } from "@kvcache/core";
import { checkSamplingParams, type SamplingParams } from "@kvcache/decoder";
import { type Command, InvalidArgumentError, Option } from "commander";
import { type AssembleOptions, type BackendName, backendNames } from "./assemble.ts";
import { parsePlan } from "./plan-spec.ts";
import { parseBytes } from "./quantities.ts";

const number = (text: string): number => {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value))
    throw new InvalidArgumentError("not a number.");
  return value;
};

/** A count: an integer ≥ 1. */
const count = (text: string): number => {
  const value = number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError("not an integer ≥ 1.");
  return value;
};

/** Options of every command that runs a model. */
export interface RunOptions {
  readonly model: string;
  readonly backend: BackendName;
  readonly threads?: number;
  readonly dtype: WeightFormat;
  readonly kvDtype: "f32" | "f16";
  readonly kvMemory?: string;
  readonly blockSize: number;
  readonly json?: boolean;
}

export const modelOption = () =>
  new Option("--model <source>", 'folder, hub id, or "tiny"').default("tiny");

export const addRunOptions = (command: Command): Command =>
  command
    .addOption(modelOption())
    .addOption(
      new Option("--backend <name>", "where it runs").choices(backendNames).default("auto"),
    )
    .option("--threads <n>", "threads of the backend", count)
    .addOption(
      new Option("--dtype <format>", "weights")
        .choices(["f32", "f16", "int8", "int4"])
        .default("f32"),
    )
    .addOption(
      new Option("--kv-dtype <format>", "cache entries").choices(["f32", "f16"]).default("f32"),
    )
    .option(
      "--kv-memory <size>",
      "size of the block pool, for example 512MiB (default: one full context)",
    )
    .option("--block-size <tokens>", "tokens per block", count, 16)
    .option("--json", "machine-readable output on standard output");

/** Options that say which tokens stay. */
export const addPlanOptions = (command: Command): Command =>
  command
    .option("--policy <plan>", "<policy>[:option=value,…][@budget], see `kvcache policies`", "full")
    .option("--budget <budget>", "kept fraction (0.25), tokens (512) or size (64MiB)");

export const addSamplingOptions = (command: Command): Command =>
  command
    .option("--temperature <t>", "0 = greedy", number, 0)
    .option("--top-k <k>", "keep the k likeliest tokens", number)
    .option("--top-p <p>", "keep the likeliest tokens up to this mass", number)
    .option("--min-p <p>", "drop tokens below this share of the likeliest", number)
    .option("--repetition-penalty <r>", "1 does nothing", number)
    .option("--frequency-penalty <f>", "per occurrence", number)
    .option("--presence-penalty <p>", "once", number)
    .option("--seed <n>", "equal seeds, equal tokens", number)
    .option("--max-tokens <n>", "tokens to generate at most", count)
    .option("--stop <text...>", "strings that end the answer");

export interface SamplingOptions extends SamplingParams {
  readonly maxTokens?: number;
  readonly stop?: readonly string[];
}

export function samplingOf(options: SamplingOptions): SamplingParams {
  const {
    temperature,
    topK,
    topP,
    minP,
    repetitionPenalty,
    frequencyPenalty,
    presencePenalty,
    seed,
  } = options;
  const given = {
    temperature,
    topK,
    topP,
    minP,
    repetitionPenalty,
    frequencyPenalty,
    presencePenalty,
    seed,
  };
  return checkSamplingParams(
    Object.fromEntries(
      Object.entries(given).filter(([, value]) => value !== undefined),
    ) as SamplingParams,
  );
}

export const planOf = (options: { policy: string; budget?: string }): CachePlan =>
  parsePlan(options.policy, options.budget);

export function assembleOptions(
  options: RunOptions,
  plans: readonly CachePlan[],
  rest: Pick<
    AssembleOptions,
    | "maxSequences"
    | "onProgress"
    | "trace"
    | "watchBlocks"
    | "watchPrefixes"
    | "signals"
    | "swap"
    | "prefixMemory"
    | "prefixTier"
  >,
): AssembleOptions {
  if (options.threads !== undefined && options.threads > 1024)
    throw new KvCacheError("invalid-argument", `--threads ${options.threads} is too many.`, {
      value: options.threads,
    });
  return {
    model: options.model,
    backend: options.backend,
    ...(options.threads === undefined ? {} : { threads: options.threads }),
    dtype: options.dtype,
    kvDtype: options.kvDtype,
    blockSize: options.blockSize,
    ...(options.kvMemory === undefined ? {} : { kvMemory: parseBytes(options.kvMemory) }),
    plans,
    ...rest,
  };
}
