import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { KvCacheError } from "@kvcache/core";
import type { CaseResult } from "./report.ts";

/** One broken model folder of `hostile.json` and what the product must do with it. */
interface HostileCase {
  readonly id: string;
  readonly action: "load" | "generate" | "encode" | "chat";
  readonly expect: "ok" | "error" | "warning-or-error" | "ok-or-error";
  readonly mentionOneOf?: readonly string[];
  readonly maxSeconds: number;
  readonly maxMemoryMB: number;
  readonly forbiddenOutput?: string | readonly string[];
  readonly skipWhenRoot?: boolean;
  readonly text?: string;
  readonly messages?: unknown;
  readonly promptIds?: readonly number[];
}

interface HostileFile {
  readonly text: string;
  readonly messages: unknown;
  readonly promptIds: readonly number[];
  readonly cases: readonly HostileCase[];
}

interface Outcome {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds: number;
  readonly peakMiB: number;
}

/** Peak resident memory of a live process, where the platform tells it (Linux). */
function peakMiB(pid: number): number {
  try {
    const match = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
    return match ? Number(match[1]) / 1024 : 0;
  } catch {
    return 0;
  }
}

function runCli(cli: string, args: readonly string[], maxSeconds: number): Promise<Outcome> {
  return new Promise((done) => {
    const start = performance.now();
    const child = spawn(process.execPath, [cli, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    let peak = 0;
    child.stdout.on("data", (chunk) => {
      if (stdout.length < 2 ** 24) stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      if (stderr.length < 2 ** 24) stderr += chunk;
    });
    const sampler = setInterval(() => {
      peak = Math.max(peak, peakMiB(child.pid!));
    }, 20);
    // Twice the limit: slow enough to tell "too slow" from "hangs", short enough to end.
    const killer = setTimeout(() => child.kill("SIGKILL"), maxSeconds * 2000);
    child.on("close", (exitCode, signal) => {
      clearInterval(sampler);
      clearTimeout(killer);
      const seconds = (performance.now() - start) / 1000;
      done({ exitCode, signal, stdout, stderr, seconds, peakMiB: peak });
    });
  });
}

function argumentsOf(test: HostileCase, file: HostileFile, folder: string): readonly string[] {
  const model = ["--model", join(folder, test.id)];
  switch (test.action) {
    case "load":
      return ["inspect", join(folder, test.id)];
    case "generate": {
      const ids = (test.promptIds ?? file.promptIds).join(",");
      return [
        "generate",
        ...model,
        "--tokens",
        ids,
        "--max-tokens",
        "4",
        "--temperature",
        "0",
        "--json",
      ];
    }
    case "encode":
      return ["tokenize", ...model, "--json", "--", test.text ?? file.text];
    case "chat":
      return [
        "tokenize",
        ...model,
        "--json",
        "--messages",
        JSON.stringify(test.messages ?? file.messages),
      ];
  }
}

/** The first thing that is wrong with an outcome, or undefined. */
function judge(test: HostileCase, outcome: Outcome): string | undefined {
  const output = outcome.stdout + outcome.stderr;
  const failed = outcome.exitCode !== 0;
  if (outcome.signal) return `killed by ${outcome.signal} after ${outcome.seconds.toFixed(1)} s`;
  if (outcome.exitCode === null || outcome.exitCode > 2)
    return `crashed with exit status ${outcome.exitCode}: ${outcome.stderr.slice(-200)}`;
  if (outcome.seconds > test.maxSeconds)
    return `took ${outcome.seconds.toFixed(1)} s, allowed ${test.maxSeconds}`;
  if (outcome.peakMiB > test.maxMemoryMB)
    return `peak memory ${outcome.peakMiB.toFixed(0)} MiB, allowed ${test.maxMemoryMB}`;
  for (const forbidden of [test.forbiddenOutput ?? []].flat())
    if (output.includes(forbidden)) return `printed "${forbidden}"`;
  if (/\n\s+at .+:\d+:\d+/.test(outcome.stderr))
    return `printed a stack trace: ${outcome.stderr.slice(0, 200)}`;
  if (test.expect === "ok" && failed) return `failed: ${outcome.stderr.slice(0, 300)}`;
  if (test.expect === "error" && !failed) return `succeeded: ${outcome.stdout.slice(0, 200)}`;
  if (test.expect === "warning-or-error" && !failed && !/warn/i.test(outcome.stderr))
    return "succeeded without a warning";
  const mentions = test.mentionOneOf ?? [];
  const lower = output.toLowerCase();
  if (failed && mentions.length > 0 && !mentions.some((word) => lower.includes(word.toLowerCase())))
    return `the error mentions none of ${mentions.join(", ")}: ${outcome.stderr.slice(0, 300)}`;
  return undefined;
}

/** Runs every case of `<folder>/hostile.json` through the product's CLI in a child process each. */
export async function runHostile(
  folder: string,
  cli: string,
  onResult: (result: CaseResult) => void,
): Promise<void> {
  const path = join(resolve(folder), "hostile.json");
  if (!existsSync(path))
    throw new KvCacheError("not-found", `There is no ${path}.`, {
      remedy: "Give the folder that the generator of broken models wrote.",
    });
  const file = JSON.parse(readFileSync(path, "utf8")) as HostileFile;
  for (const test of file.cases) {
    const result = { id: test.id, group: "hostile" };
    if (test.skipWhenRoot && process.getuid?.() === 0) {
      onResult({ ...result, status: "skipped", reason: "permissions do not bind root" });
      continue;
    }
    const outcome = await runCli(cli, argumentsOf(test, file, resolve(folder)), test.maxSeconds);
    const reason = judge(test, outcome);
    onResult(reason ? { ...result, status: "failed", reason } : { ...result, status: "passed" });
  }
}
