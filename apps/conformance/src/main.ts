import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Backend, KvCacheError } from "@kvcache/core";
import { readDecoderCase } from "./decoder/decoder-case.ts";
import { runDecoder } from "./decoder/run-decoder.ts";
import { runHostile } from "./hostile.ts";
import { backendNames, openBackend } from "./open-model.ts";
import { type CaseResult, summary } from "./report.ts";
import { readCase, type Verdict } from "./vectors/case.ts";
import { runCase } from "./vectors/run-case.ts";
import { runModel } from "./vectors/run-model.ts";

const usage = `Runs this engine against answers of other implementations.

  pnpm conformance --vectors <dir> [--backend <name>] [--method <name>] [--kind <kind>] [--json <file>]
  pnpm conformance --hostile <folder> [--json <file>]

Backends: ${backendNames.join(", ")} (default ort). Exit status 0 only with 0 failed.
`;

/** Every JSON file below a folder that has a field `kind`. */
function casesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".json"))
    .map((name) => join(folder, name))
    .filter(
      (path) => statSync(path).size < 2 ** 26 && /"kind"\s*:/.test(readFileSync(path, "utf8")),
    )
    .sort();
}

async function runVector(path: string, backend: Backend): Promise<Verdict> {
  const json = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
  if (json.kind === "decoder") return runDecoder(await readDecoderCase(path), backend);
  const vector = await readCase(path);
  return vector.kind === "model" ? runModel(vector, path, json, backend) : runCase(vector, backend);
}

async function runVectors(
  folder: string,
  filter: { backend: string; method: string | undefined; kind: string | undefined },
  onResult: (result: CaseResult) => void,
): Promise<void> {
  if (!existsSync(folder))
    throw new KvCacheError("not-found", `There is no folder ${folder}.`, { value: folder });
  const backend = await openBackend(filter.backend);
  console.log(`backend: ${backend.description}`);
  for (const path of casesBelow(resolve(folder))) {
    let id = path;
    let group = "malformed";
    let verdict: Verdict;
    try {
      const json = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
      id = typeof json.id === "string" ? json.id : path;
      group = json.kind === "decoder" ? "decoder" : String(json.method ?? "malformed");
      if (filter.method && filter.method !== group) continue;
      if (filter.kind && filter.kind !== json.kind) continue;
      verdict = await runVector(path, backend);
    } catch (error) {
      verdict = { status: "failed", reason: (error as Error).message };
    }
    onResult({ id, group, ...verdict });
  }
  await backend.dispose();
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      vectors: { type: "string" },
      hostile: { type: "string" },
      backend: { type: "string", default: "ort" },
      method: { type: "string" },
      kind: { type: "string" },
      json: { type: "string" },
      help: { type: "boolean" },
    },
  });
  if (values.help || (!values.vectors && !values.hostile)) {
    process.stdout.write(usage);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  const results: CaseResult[] = [];
  const onResult = (result: CaseResult) => {
    results.push(result);
    if (result.status === "failed") console.log(`FAILED  ${result.id}: ${result.reason}`);
  };
  const cli = fileURLToPath(new URL("../../server/dist/main.js", import.meta.url));
  if (values.hostile) await runHostile(values.hostile, cli, onResult);
  else
    await runVectors(
      values.vectors!,
      { backend: values.backend, method: values.method, kind: values.kind },
      onResult,
    );
  const skips = results.filter(({ status }) => status === "skipped");
  for (const { id, reason } of skips) console.log(`skipped ${id}: ${reason}`);
  if (values.json)
    writeFileSync(
      values.json,
      `${JSON.stringify(
        results.map(({ id, status, reason }) => ({ id, status, reason: reason ?? null })),
        null,
        1,
      )}\n`,
    );
  console.log(`\n${summary(results)}`);
  process.exitCode = results.some(({ status }) => status === "failed") ? 1 : 0;
}

main().catch((error) => {
  console.error(error instanceof KvCacheError ? `error ${error.message}` : error);
  process.exitCode = 1;
});
