// Quality of our policies on the tasks that ship with model-tiny, against what kvpress 0.5.5 gave on
// the same samples (quality/kvpress-0.5.5.json): mean score and NLL, the mean over tasks of the mean
// over samples. Ratios are ours ÷ theirs, of the score at half the cache.
//   --out <file>   records as JSONL; an interrupted run goes on where it stopped
//   --presses a,b  only these      --question hidden|visible      --limit n   every n-th sample only
// With --table <page>, instead: every method by `kvcache eval`, records to --out, and the page of claims
// and rows that docs/quality.md is.
//   --samples n    only so many samples      --render   the records that are there, without a run
import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { compact } from "../kernels/dist/index.js";
import { createOrtBackend } from "../packages/backend-ort/dist/index.js";
import { cacheLayout, sequenceTokenBytes, signalsOf } from "../packages/core/dist/index.js";
import { loadModel } from "../packages/decoder/dist/index.js";
import { createRunner } from "../packages/engine/dist/index.js";
import {
  evaluate,
  fullCache,
  parseRecords,
  parseSamples,
  summarise,
} from "../packages/evals/dist/index.js";
import { modelUrl, tasksUrl } from "../packages/model-tiny/dist/index.js";
import { createPagedCache } from "../packages/paged/dist/index.js";
import { createPolicy } from "../packages/policies/all/dist/index.js";
import { presses } from "./quality/presses.mjs";
import { rows } from "./quality/rows.mjs";
import { qualityPage } from "./quality/table.mjs";

const reference = JSON.parse(
  readFileSync(new URL("quality/kvpress-0.5.5.json", import.meta.url), "utf8"),
);
const removed = ["0.5", "0.75", "0.8", "0.9"];
const threads = 2;

export default async function run({ log, quick, options }) {
  const flag = (name) => (options.includes(name) ? options[options.indexOf(name) + 1] : undefined);
  if (flag("--table"))
    return writePage(flag("--table"), {
      out: flag("--out") ?? "quality.jsonl",
      samples: flag("--samples") ?? (quick ? "20" : undefined),
      render: options.includes("--render"),
    });
  const names = flag("--presses")?.split(",") ?? Object.keys(presses);
  const questions = flag("--question") ? [flag("--question")] : ["hidden", "visible"];
  const every = Number(flag("--limit") ?? (quick ? 20 : 1));
  const known = new Set(reference.ids);
  const samples = parseSamples(readFileSync(fileURLToPath(tasksUrl), "utf8"))
    .filter(({ id }) => known.has(id))
    .filter((_, i) => i % every === 0);
  const variants = names.flatMap((press) => {
    const { name, ...rest } = presses[press].policy;
    const policy = createPolicy(name, rest);
    return removed.map((fraction) => ({
      policy: press,
      budget: fraction,
      eviction: { policy, target: { ratio: 1 - Number(fraction) } },
    }));
  });
  const out = flag("--out");
  const records = out && existsSync(out) ? parseRecords(readFileSync(out, "utf8"), out) : [];
  if (out) writeFileSync(out, records.map((record) => `${JSON.stringify(record)}\n`).join(""));
  const { runner, close } = await openRunner(variants);
  const began = performance.now();
  let said = 0;
  for await (const made of evaluate(runner, {
    samples,
    variants: [fullCache, ...variants],
    questions,
    done: records,
    onProgress({ done, total, sample, secondsLeft }) {
      if (performance.now() - said < 15_000) return;
      said = performance.now();
      const left = secondsLeft === undefined ? "" : `, ${Math.ceil(secondsLeft / 60)} min left`;
      process.stderr.write(`${sample}: ${Math.floor((100 * done) / total)} %${left}\n`);
    },
  })) {
    records.push(...made);
    if (out) appendFileSync(out, made.map((record) => `${JSON.stringify(record)}\n`).join(""));
  }
  await close();
  const minutes = (performance.now() - began) / 60_000;
  return compare(records, samples, { log, minutes });
}

/** Runs `kvcache eval` for every row, going on where records are, and writes the page. */
function writePage(page, { out, samples, render }) {
  const server = fileURLToPath(new URL("../apps/server/dist/main.js", import.meta.url));
  for (const { plans, ratios } of render ? [] : rows) {
    const args = ["eval", "--policies", plans.join(","), "--ratios", ratios.join(",")];
    args.push("--question", "both", "--block-size", "8", "--out", out, "--json");
    if (samples) args.push("--limit", samples);
    const { status } = spawnSync(process.execPath, [server, ...args], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    if (status !== 0) throw new Error(`kvcache eval ended with ${status}; run it again to go on.`);
  }
  const records = parseRecords(readFileSync(out, "utf8"), out);
  const limit = samples ? ` --samples ${samples}` : "";
  const command = `pnpm bench quality --table ${page} --out ${out}${limit}`;
  writeFileSync(page, qualityPage(records, { command, model: "kvcache-tiny" }));
  return { ratios: {}, figures: { page, records: records.length } };
}

async function openRunner(variants) {
  const model = await loadModel(fileURLToPath(modelUrl), { name: "kvcache-tiny" });
  const layout = cacheLayout(model.graph.shape);
  const signals = variants.flatMap(({ eviction }) => signalsOf(eviction.policy));
  const cache = createPagedCache({
    layout,
    maxSequences: 18,
    maxTokensPerSequence: 17_000,
    memoryBytes: 8 * 9_000 * sequenceTokenBytes(layout) * 1.5,
    windowSize: 64,
    compaction: compact,
  });
  const backend = await createOrtBackend({ mode: "auto", threads });
  const kinds = [...new Set(signals.map(({ kind }) => kind))];
  const runner = await createRunner({ model, backend, cache, signals: kinds });
  return {
    runner,
    async close() {
      await runner.dispose();
      await backend.dispose();
      cache.dispose();
    },
  };
}

/** Ours and theirs side by side, over the samples that were run. */
function compare(records, samples, { log, minutes }) {
  const rows = [];
  for (const summary of summarise(records)) {
    const { policy, budget, question } = summary;
    const key = policy === "full" ? "full@0" : `${policy}@${budget}`;
    const theirs = referenceMeans(reference[question][key], samples);
    const loose = presses[policy]?.loose ?? false;
    const difference = { score: summary.score - theirs.score, nll: summary.nll - theirs.nll };
    const bound =
      policy === "full" ? [0.3, 0.03] : loose ? [5, Number.POSITIVE_INFINITY] : [1.5, 0.03];
    const holds = Math.abs(difference.score) <= bound[0] && Math.abs(difference.nll) <= bound[1];
    rows.push({ key, question, loose, ours: summary, theirs, difference, holds });
  }
  log(
    "press                                question  score  kvpress   diff    NLL  kvpress   diff",
  );
  for (const { key, question, ours, theirs, difference, holds } of rows)
    log(
      `${key.padEnd(36)} ${question.padEnd(8)} ${ours.score.toFixed(1).padStart(6)} ${theirs.score.toFixed(1).padStart(8)} ${difference.score.toFixed(1).padStart(6)} ${ours.nll.toFixed(3).padStart(6)} ${theirs.nll.toFixed(3).padStart(8)} ${difference.nll.toFixed(3).padStart(6)}${holds ? "" : "  !"}`,
    );
  const missed = rows
    .filter(({ holds }) => !holds)
    .map(({ key, question }) => `${key} ${question}`);
  log(
    `${rows.length - missed.length} of ${rows.length} within the bounds, ${samples.length} samples, ${minutes.toFixed(0)} min`,
  );
  const half = rows.filter(({ key }) => key.endsWith("@0.5"));
  return {
    ratios: Object.fromEntries(
      half.map(({ key, question, ours, theirs }) => [
        `${key.replace("@0.5", "")}-${question}`,
        ours.score / theirs.score,
      ]),
    ),
    figures: {
      minutes,
      samples: samples.length,
      missed,
      rows: rows.map(({ key, question, ours, theirs }) => ({
        press: key,
        question,
        score: ours.score,
        nll: ours.nll,
        kvpressScore: theirs.score,
        kvpressNll: theirs.nll,
      })),
    },
  };
}

/** Mean over tasks of the mean over these samples, of kvpress' own figures. */
function referenceMeans({ score, nll }, samples) {
  const byTask = new Map();
  for (const { id, task } of samples) {
    const i = reference.ids.indexOf(id);
    const own = byTask.get(task) ?? { score: 0, nll: 0, count: 0 };
    own.score += score[i];
    own.nll += nll[i];
    own.count++;
    byTask.set(task, own);
  }
  const tasks = [...byTask.values()];
  const mean = (pick) => tasks.reduce((sum, own) => sum + pick(own) / own.count, 0) / tasks.length;
  return { score: 100 * mean((own) => own.score), nll: mean((own) => own.nll) };
}
