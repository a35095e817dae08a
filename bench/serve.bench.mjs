// One KV-memory budget with room for four full sequences, many requests at once through the engine:
// kv-compress at kept fractions 1, 1/8, 1/64 against our own full cache in the same run. The four take
// turns of a few seconds; times are those of an engine's own turns.
import { fileURLToPath } from "node:url";
import { compact } from "../kernels/dist/index.js";
import { createOrtBackend } from "../packages/backend-ort/dist/index.js";
import { cacheLayout, sequenceTokenBytes } from "../packages/core/dist/index.js";
import { loadModel } from "../packages/decoder/dist/index.js";
import { createEngine } from "../packages/engine/dist/index.js";
import { createPagedCache } from "../packages/paged/dist/index.js";
import { kvCompress } from "../packages/policies/kv-compress/dist/index.js";
import { leastSquares, quantile } from "./statistics.mjs";
import { takingTurns } from "./taking-turns.mjs";

const folder = fileURLToPath(new URL("../packages/model-tiny/model", import.meta.url));
const threads = 2;
const fullSequences = 4;
const blockSize = 16;
/** Must fit what is kept of the shortest prompt. */
const protectedWindow = 8;

const full = { name: "full", factor: 1 };
const compressed = [1, 8, 64].map((factor) => ({ name: `${factor}`, factor, evicts: true }));
/** As fast as possible: prompts are not held back for those who decode. */
const scheduler = { maxStall: Number.POSITIVE_INFINITY };

function planOf({ factor, evicts }) {
  if (!evicts) return {};
  return { eviction: { policy: kvCompress({ protectedWindow }), target: { ratio: 1 / factor } } };
}

/** Closed loop: every client sends its next request when the last one is answered. */
async function serve({ model, backend, turns }, setting, { sizes, numClients }) {
  const { name } = setting;
  const layout = cacheLayout(model.graph.shape, { blockSize });
  const longest = Math.max(...sizes.map(({ prompt, output }) => prompt + output));
  const budget = fullSequences * longest * sequenceTokenBytes(layout);
  const cache = createPagedCache({
    layout,
    maxSequences: numClients,
    maxTokensPerSequence: longest + blockSize,
    memoryBytes: budget,
    windowSize: 64,
    compaction: compact,
  });
  const outputs = sum(sizes, ({ output }) => output);
  const work = outputs + sum(sizes, ({ prompt }) => prompt);
  const now = () => turns.clock(name);
  const steps = [];
  let peakBytes = 0;
  let last = 0;
  const sink = (event) => {
    if (event.type !== "step") return;
    const { residentBytes, residentTokens } = cache.stats();
    peakBytes = Math.max(peakBytes, residentBytes);
    const time = now();
    steps.push({ ...event, wall: time - last, residentTokens });
    last = time;
    turns.progress(name, (event.prefillTokens + event.decodeTokens) / work);
  };
  // Equal conditions: no request finds another one's prompt.
  const engine = await createEngine({
    model,
    backend: turns.backend(name, backend),
    cache,
    prefixCache: false,
    scheduler,
    trace: { sink },
  });
  const plan = planOf(setting);
  const firstTokens = [];
  const gaps = [];
  const kept = [];
  let next = 0;
  const client = async () => {
    while (next < sizes.length) {
      const index = next++;
      const { prompt, output } = sizes[index];
      const asked = now();
      const stream = engine.generate({
        prompt: Int32Array.from(
          { length: prompt },
          (_, i) => 300 + ((i * 7919 + index * 31) % 7000),
        ),
        maxTokens: output,
        stop: { ignoreEos: true },
        plan,
      });
      let before;
      for await (const event of stream) {
        if (event.type !== "token") continue;
        const time = now();
        if (before === undefined) firstTokens.push(time - asked);
        else gaps.push(time - before);
        before = time;
      }
      const { kv } = await stream.result;
      kept.push(kv.tokensKept);
    }
  };
  await Promise.all(Array.from({ length: numClients }, client));
  const seconds = now() / 1000;
  turns.leave(name);
  const { preemptions } = engine.stats();
  await engine.dispose();
  cache.dispose();

  const prefillFree = steps.filter(({ prefillTokens }) => prefillTokens === 0);
  const decoded = sum(prefillFree, ({ decodeTokens }) => decodeTokens);
  const tokensKept = sum(kept, (tokens) => tokens) / kept.length;
  return {
    rate: outputs / seconds,
    decodeRate: (1000 * decoded) / sum(prefillFree, ({ wall }) => wall),
    meanRunning: decoded / prefillFree.length,
    meanResident: sum(prefillFree, (step) => step.residentTokens) / decoded,
    tokensKept,
    steps,
    firstTokens,
    gaps,
    peakBytes,
    budget,
    preemptions,
  };
}

const sum = (items, of) => items.reduce((total, item) => total + of(item), 0);

/**
 * What the memory allows at the price of the steps that were measured: a decode step costs a fixed
 * part, a part per sequence and a part per resident token; a prompt token costs what it added. As many
 * sequences run at once as there is room for what each holds when it ends, which admission must leave.
 */
function boundsOf(results, sizes) {
  const all = Object.values(results).flatMap(({ steps }) => steps);
  const decode = all.filter(({ prefillTokens }) => prefillTokens === 0);
  const price = leastSquares(
    decode.map(({ sequences, residentTokens }) => [1, sequences, residentTokens]),
    decode.map(({ wall }) => wall),
  ).map((coefficient) => Math.max(0, coefficient));
  const stepMs = (sequences, resident) => price[0] + price[1] * sequences + price[2] * resident;
  const mixed = all.filter(({ prefillTokens }) => prefillTokens > 0);
  const added = sum(mixed, (step) => {
    const alone = step.decodeTokens > 0 ? stepMs(step.decodeTokens, step.residentTokens) : 0;
    return Math.max(0, step.wall - alone);
  });
  const promptTokenMs = added / sum(mixed, ({ prefillTokens }) => prefillTokens);
  const prefillMs = promptTokenMs * sum(sizes, ({ prompt }) => prompt);
  const outputs = sum(sizes, ({ output }) => output);
  const capacity = fullSequences * Math.max(...sizes.map(({ prompt, output }) => prompt + output));
  return Object.fromEntries(
    Object.entries(results).map(([name, { tokensKept, meanResident }]) => {
      const atEnd = Math.ceil(tokensKept / blockSize) * blockSize;
      const sequences = Math.min(sizes.length, Math.floor(capacity / atEnd));
      const decodeRate = (1000 * sequences) / stepMs(sequences, sequences * meanResident);
      const rate = outputs / ((prefillMs + (1000 * outputs) / decodeRate) / 1000);
      return [name, { rate, decodeRate, sequences }];
    }),
  );
}

export default async function run({ log, quick }) {
  const model = await loadModel(folder);
  const backend = await createOrtBackend({ mode: "native", threads });
  log(backend.description);
  const [count, shortest, output] = quick ? [16, 128, 128] : [64, 1024, 1024];
  const sizes = Array.from({ length: count }, (_, i) => ({
    prompt: shortest + ((i * 389) % shortest),
    output,
  }));
  const settings = [full, ...compressed];
  const turns = takingTurns(settings.map(({ name }) => name));
  const load = { sizes, numClients: count };
  const served = settings.map((setting) => serve({ model, backend, turns }, setting, load));
  const report = setInterval(() => log(`${Math.round(100 * turns.done())} %`), 60_000);
  const results = {};
  for (const [i, result] of (await Promise.all(served)).entries())
    results[settings[i].name] = result;
  clearInterval(report);
  await backend.dispose();

  const bounds = boundsOf(results, sizes);
  const figures = {};
  for (const { name } of settings) {
    const own = figuresOf(results[name], bounds[name]);
    figures[name] = own;
    log(
      `${name === "full" ? "full cache" : `kept 1/${name}`}`.padEnd(12) +
        `${own.tokensPerSecond} of at most ${own.bound.tokensPerSecond} tok/s, ` +
        `prefill-free ${own.decodeTokensPerSecond} of ${own.bound.decodeTokensPerSecond} tok/s, ` +
        `${own.meanRunning} running, TTFT p50 ${own.ttftMs.p50} p95 ${own.ttftMs.p95} ms, ` +
        `gap p50 ${own.interTokenMs.p50} p95 ${own.interTokenMs.p95} ms, ` +
        `preempted ${own.preemptions.recompute} + ${own.preemptions.swap}`,
    );
  }
  const ratios = {};
  let bound = Number.POSITIVE_INFINITY;
  for (const { name } of compressed)
    for (const [ratio, rate] of [
      [`factor${name}`, "rate"],
      [`decode${name}`, "decodeRate"],
    ]) {
      ratios[ratio] = results[name][rate] / results.full[rate];
      bound = Math.min(bound, results[name][rate] / bounds[name][rate]);
    }
  ratios.bound = bound;
  const isWithin = ({ peakBytes, budget }) => peakBytes <= budget;
  ratios.withinBudget = Number(Object.values(results).every(isWithin));
  return {
    ratios: Object.fromEntries(Object.entries(ratios).map(([k, v]) => [k, +v.toFixed(3)])),
    figures,
  };
}

function figuresOf(result, bound) {
  const { rate, decodeRate, firstTokens, gaps, peakBytes, budget, preemptions } = result;
  const two = (value) => +value.toFixed(2);
  const quantiles = (values) => ({
    p50: two(quantile(values, 0.5)),
    p95: two(quantile(values, 0.95)),
  });
  return {
    tokensPerSecond: two(rate),
    decodeTokensPerSecond: two(decodeRate),
    bound: {
      tokensPerSecond: two(bound.rate),
      decodeTokensPerSecond: two(bound.decodeRate),
      sequences: bound.sequences,
    },
    meanRunning: two(result.meanRunning),
    tokensKept: two(result.tokensKept),
    ttftMs: quantiles(firstTokens),
    interTokenMs: quantiles(gaps),
    peakBytes,
    budget,
    preemptions,
  };
}
