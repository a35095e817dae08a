import { createHash } from "node:crypto";
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { type HeadProfile, headProfile, KvCacheError, type SignalKind } from "@kvcache/core";
import {
  type CountTokens,
  calibrationSamples,
  decodePartialState,
  type EvalSample,
  encodePartialState,
  type PartialStore,
  type ResumableWork,
  runResumable,
  type TaskFamily,
} from "@kvcache/evals";
import { wikitextUrl } from "@kvcache/model-tiny";
import type { Command } from "commander";
import { tokenCount } from "../../arguments.ts";
import { type AssembledRunner, assembleRunner } from "../../assemble.ts";
import { addRunOptions, assembleOptions, type RunOptions } from "../../cli-options.ts";
import { fromCommandLine } from "../../fail.ts";
import { type Progress, progress } from "../../progress.ts";
import { textOf } from "../../prompt-source.ts";
import { formatDuration } from "../../quantities.ts";

/** Options of every calibration. */
export interface CalibrationOptions extends RunOptions {
  readonly data?: string;
  readonly samples: string;
  readonly lengths: string;
  readonly seed: string;
  readonly out: string;
  readonly fresh?: boolean;
}

export const addCalibrationOptions = (
  command: Command,
  { samples = 64, lengths = "512,1024,2048" }: { samples?: number; lengths?: string } = {},
): Command =>
  addRunOptions(command)
    .option("--data <file>", "samples as JSONL, or plain text (default: generated tasks)")
    .option("--samples <n>", "samples taken", String(samples))
    .option("--lengths <list>", "tokens of generated samples and of passages of text", lengths)
    .option("--seed <n>", "equal seeds, equal files", "0")
    .requiredOption("--out <file>", "what is written; a run that was cut short goes on")
    .option("--fresh", "begin anew, whatever an earlier run left");

export interface CalibrationSetup {
  /** Kinds of signals that observers ask for. */
  readonly signals: readonly SignalKind[];
  /** Families of generated samples; all when absent. */
  readonly tasks?: readonly TaskFamily[];
  /** Copies of a sequence that are held at once. */
  readonly forks?: number;
  /** What the result depends on beside data, model and seed. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

export interface Calibration {
  readonly run: AssembledRunner;
  readonly samples: readonly EvalSample[];
  readonly seed: number;
  readonly model: HeadProfile["model"] & { readonly fingerprint: string };
  /** How it is made, for the file. */
  readonly about: Readonly<Record<string, unknown>>;
  readonly bar: Progress;
  /** Does parts of work, and goes on where an earlier run stopped. Throws {@link Interrupted}. */
  work<Part>(
    parts: Omit<ResumableWork<Part>, "key" | "store" | "onProgress" | "signal">,
  ): Promise<void>;
}

/** Thrown when work is cut short by Ctrl-C: what was done is saved. */
class Interrupted extends Error {}

/** Opens a model, makes samples, and writes what `gather` makes of them. */
export async function calibrate(
  method: string,
  options: CalibrationOptions,
  setup: CalibrationSetup,
  gather: (calibration: Calibration) => Promise<string | Uint8Array>,
): Promise<void> {
  const given = fromCommandLine(() => ({
    count: tokenCount("--samples", options.samples),
    lengths: options.lengths.split(",").map((length) => tokenCount("--lengths", length)),
    seed: seedOf(options.seed),
    data: options.data === undefined ? undefined : textOf(options.data),
  }));
  const { forks = 0, signals, settings = {} } = setup;
  const bar = progress(options.json);
  const memory = forks > 0 ? { ...options, kvMemory: options.kvMemory ?? "2GiB" } : options;
  const run = await assembleRunner(
    assembleOptions(memory, [], { maxSequences: forks + 2, onProgress: bar.say, signals }),
  );
  bar.done(`${run.model.name} on ${run.backend.description}`);
  try {
    bar.say("making samples");
    const { data, ...asked } = given;
    const samples = calibrationSamples({
      ...asked,
      haystack: haystack(),
      countTokens: counter(run),
      ...(data !== undefined && { data, source: options.data! }),
      ...(setup.tasks && { tasks: setup.tasks }),
    });
    const { name, fingerprint } = run.model;
    const about = {
      data: options.data === undefined ? "generated" : basename(options.data),
      samples: samples.length,
      lengths: given.lengths,
      seed: given.seed,
    };
    const digest = createHash("sha256").update(JSON.stringify(samples)).digest("hex");
    const key = JSON.stringify([method, fingerprint, about, digest, settings]);
    const partial = partialFile(`${options.out}.partial`, options.fresh ?? false);
    const abort = new AbortController();
    const stop = () => abort.abort();
    process.once("SIGINT", stop);
    const made = await gather({
      run,
      samples,
      seed: given.seed,
      model: { name, fingerprint },
      about,
      bar,
      async work(parts) {
        const whole = await runResumable({
          ...parts,
          key,
          store: partial,
          signal: abort.signal,
          onProgress: ({ fraction, done, total, secondsLeft }) =>
            bar.say(
              `${method}: ${Math.floor(100 * fraction)} %, ${done} of ${total}` +
                (secondsLeft === undefined ? "" : `, ${formatDuration(secondsLeft)} left`),
            ),
        });
        if (!whole) throw new Interrupted();
      },
    });
    process.off("SIGINT", stop);
    writeWhole(options.out, made);
    partial.remove();
    bar.done();
    process.stdout.write(
      options.json
        ? `${JSON.stringify({ method, out: options.out, model: { name, fingerprint }, ...about })}\n`
        : `${options.out}\n`,
    );
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    bar.done();
    process.stderr.write("interrupted; the same command goes on from here\n");
    process.exitCode = 130;
  } finally {
    await run.close();
  }
}

/** A head profile's file, with how it was made. */
export const profileText = (profile: HeadProfile, about: Calibration["about"]): string =>
  `${JSON.stringify(headProfile({ ...profile, settings: { ...profile.settings, calibration: about } }))}\n`;

/** How a file of weights or statistics was made, as its metadata. */
export const aboutText = (
  { model, about }: Calibration,
  more: Readonly<Record<string, unknown>> = {},
): Record<string, string> => ({
  modelName: model.name,
  ...Object.fromEntries(
    Object.entries({ ...about, ...more }).map(([key, value]) => [key, String(value)]),
  ),
});

function seedOf(text: string): number {
  const seed = Number(text);
  if (text.trim() !== "" && Number.isSafeInteger(seed)) return seed;
  throw new KvCacheError("invalid-argument", `--seed must be a whole number, got ${text}.`, {
    value: text,
  });
}

const haystack = (): string =>
  readFileSync(fileURLToPath(wikitextUrl), "utf8")
    .split("\n")
    .flatMap((line) => (line.trim() ? [(JSON.parse(line) as { text: string }).text] : []))
    .join("\n\n");

/** Counts tokens, each text once: samples are cut from the same paragraphs. */
function counter({ model }: AssembledRunner): CountTokens {
  const { tokenizer, name } = model;
  if (!tokenizer)
    throw new KvCacheError("not-found", `${name} has no tokenizer, so it takes no text.`, {
      value: name,
    });
  const known = new Map<string, number>();
  return (text) => {
    const count = known.get(text) ?? tokenizer.encode(text, { addSpecialTokens: false }).length;
    known.set(text, count);
    return count;
  };
}

function partialFile(path: string, fresh: boolean): PartialStore & { remove(): void } {
  const remove = () => rmSync(path, { force: true });
  if (fresh) remove();
  return {
    remove,
    load() {
      if (!existsSync(path)) return undefined;
      process.stderr.write(`going on with ${path}\n`);
      return decodePartialState(readFileSync(path));
    },
    save: (state) => writeWhole(path, encodePartialState(state)),
  };
}

/** A file is there whole or not at all. */
function writeWhole(path: string, content: string | Uint8Array): void {
  const beside = `${path}.new`;
  writeFileSync(beside, content);
  renameSync(beside, path);
}
