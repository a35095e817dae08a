// One KV-memory budget with room for four full sequences, many requests at once through the engine:
// kv-compress at kept fractions 1, 1/8, 1/64 against our own full cache in the same run.
// --max-stall <n>: the scheduler's maxStall in all settings alike, Infinity to read prompts as fast as
// possible; the engine's own default when absent. What was used stands in the figures.
import { fileURLToPath } from "node:url";
import { compact } from "../kernels/dist/index.js";
import { createOrtBackend } from "../packages/backend-ort/dist/index.js";
import { cacheLayout, sequenceTokenBytes } from "../packages/core/dist/index.js";
import { loadModel } from "../packages/decoder/dist/index.js";
import { createEngine } from "../packages/engine/dist/index.js";
import { createPagedCache } from "../packages/paged/dist/index.js";
import { kvCompress } from "../packages/policies/kv-compress/dist/index.js";
import { leastSquares, quantile } from "./statistics.mjs";

const folder = fileURLToPath(new URL("../packages/model-tiny/model", import.meta.url));
const threads = 2;
const fullSequences = 4;
const blockSize = 16;
/** Must fit what is kept of the shortest prompt. */
const protectedWindow = 8;

const full = { name: "full", factor: 1 };
const compressed = [1, 8, 64].map((factor) => ({ name: `${factor}`, factor, evicts: true }));
/** The control runs before and after the setting that must equal it: machines drift. */
const order = [full, compressed[0], full, ...compressed.slice(1)];

function planOf({ factor, evicts }) {
  if (!evicts) return {};
  return { eviction: { policy: kvCompress({ protectedWindow }), target: { ratio: 1 / factor } } };
}

/** Closed loop: every client sends its next request when the last one is answered. */
async function serve({ model, backend }, setting, { sizes, numClients, scheduler }) {
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
  const steps = [];
  let peakBytes = 0;
  let last = 0;
  const cpuMs = () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  };
  let lastCpu = 0;
  const sink = (event) => {
    if (event.type !== "step") return;
    const { residentBytes, residentTokens } = cache.stats();
    peakBytes = Math.max(peakBytes, residentBytes);
    const cpu = cpuMs();
    steps.push({ ...event, wall: event.time - last, cpu: cpu - lastCpu, residentTokens });
    last = event.time;
    lastCpu = cpu;
  };
  // Equal conditions: no request finds another one's prompt.
  const engine = await createEngine({
    model,
    backend,
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
  const began = performance.now();
  const beganCpu = cpuMs();
  lastCpu = beganCpu;
  const client = async () => {
    while (next < sizes.length) {
      const index = next++;
      const { prompt, output } = sizes[index];
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
        if (before !== undefined) gaps.push(event.time - before);
        before = event.time;
      }
      const { timings, kv } = await stream.result;
      firstTokens.push(timings.ttftMs);
      kept.push(kv.tokensKept);
    }
  };
  await Promise.all(Array.from({ length: numClients }, client));
  const seconds = (performance.now() - began) / 1000;
  const cpuSeconds = (cpuMs() - beganCpu) / 1000;
  const { preemptions } = engine.stats();
  await engine.dispose();
  cache.dispose();

  const outputs = sizes.reduce((sum, { output }) => sum + output, 0);
  const prefillFree = steps.filter(({ prefillTokens }) => prefillTokens === 0);
  const decoded = prefillFree.reduce((sum, { decodeTokens }) => sum + decodeTokens, 0);
  const decodeMs = prefillFree.reduce((sum, { wall }) => sum + wall, 0);
  const decodeCpuMs = prefillFree.reduce((sum, { cpu }) => sum + cpu, 0);
  return {
    outputs,
    seconds,
    decoded,
    decodeMs,
    meanRunning: decoded / prefillFree.length,
    meanResident: prefillFree.reduce((sum, s) => sum + s.residentTokens, 0) / decoded,
    steps,
    withinBudget: peakBytes <= budget,
    figures: {
      tokensPerSecond: +(outputs / seconds).toFixed(2),
      decodeTokensPerSecond: +((1000 * decoded) / decodeMs).toFixed(2),
      // What other work on the machine disturbs less: tokens per second of processor time.
      tokensPerCpuSecond: +(outputs / cpuSeconds).toFixed(2),
      decodeTokensPerCpuSecond: +((1000 * decoded) / decodeCpuMs).toFixed(2),
      meanRunning: +(decoded / prefillFree.length).toFixed(1),
      tokensKept: +(kept.reduce((a, b) => a + b, 0) / kept.length).toFixed(1),
      ttftMs: {
        p50: Math.round(quantile(firstTokens, 0.5)),
        p95: Math.round(quantile(firstTokens, 0.95)),
      },
      interTokenMs: { p50: +quantile(gaps, 0.5).toFixed(1), p95: +quantile(gaps, 0.95).toFixed(1) },
      peakBytes,
      budget,
      preemptions,
    },
  };
}

/**
 * What the memory allows at the price of the steps that were measured: a decode step costs a fixed
 * part, a part per sequence and a part per resident token; a prompt token costs what it added.
 */
function costModel(results) {
  const all = results.flatMap(({ steps }) => steps);
  const decode = all.filter(({ prefillTokens }) => prefillTokens === 0);
  const price = leastSquares(
    decode.map(({ sequences, residentTokens }) => [1, sequences, residentTokens]),
    decode.map(({ wall }) => wall),
  ).map((coefficient) => Math.max(0, coefficient));
  const stepMs = (sequences, resident) => price[0] + price[1] * sequences + price[2] * resident;
  const mixed = all.filter(({ prefillTokens }) => prefillTokens > 0);
  const added = mixed.reduce((sum, s) => {
    const alone = s.decodeTokens > 0 ? stepMs(s.decodeTokens, s.residentTokens) : 0;
    return sum + Math.max(0, s.wall - alone);
  }, 0);
  const prefilled = mixed.reduce((sum, { prefillTokens }) => sum + prefillTokens, 0);
  return { stepMs, promptTokenMs: added / prefilled };
}

export default async function run({ log, quick, options = [] }) {
  const model = await loadModel(folder);
  const backend = await createOrtBackend({ mode: "native", threads });
  log(backend.description);
  const [count, shortest, output] = quick ? [16, 128, 128] : [64, 1024, 1024];
  const sizes = Array.from({ length: count }, (_, i) => ({
    prompt: shortest + ((i * 389) % shortest),
    output,
  }));
  const at = options.indexOf("--max-stall");
  const scheduler = at < 0 ? {} : { maxStall: Number(options[at + 1]) };
  const load = { sizes, numClients: count, scheduler };
  const results = [];
  for (const { name, ...setting } of order) {
    const result = { name, ...(await serve({ model, backend }, setting, load)) };
    results.push(result);
    const { figures } = result;
    log(
      `${name === "full" ? "full cache" : `kept 1/${name}`}`.padEnd(12) +
        `${figures.tokensPerSecond} tok/s, prefill-free ${figures.decodeTokensPerSecond} tok/s, ` +
        `${figures.meanRunning} running, TTFT p50 ${figures.ttftMs.p50} p95 ${figures.ttftMs.p95} ms, ` +
        `gap p50 ${figures.interTokenMs.p50} p95 ${figures.interTokenMs.p95} ms, ` +
        `preempted ${figures.preemptions.recompute} + ${figures.preemptions.swap}`,
    );
  }
  await backend.dispose();

  const { stepMs, promptTokenMs } = costModel(results);
  const promptTokens = sizes.reduce((sum, { prompt }) => sum + prompt, 0);
  const capacity = fullSequences * Math.max(...sizes.map(({ prompt }) => prompt + output));
  /** Tokens per second of a setting over all its runs: measured, and at most by the step costs. */
  const rates = ({ name }) => {
    const runs = results.filter((result) => result.name === name);
    const total = (of) => runs.reduce((sum, run) => sum + of(run), 0);
    const [{ outputs, meanResident }] = runs;
    const sequences = Math.min(count, Math.floor(capacity / meanResident));
    const decodeRate = (1000 * sequences) / stepMs(sequences, sequences * meanResident);
    const seconds = (promptTokens * promptTokenMs) / 1000 + outputs / decodeRate;
    return {
      tokensPerSecond: total((run) => run.outputs) / total((run) => run.seconds),
      decodeTokensPerSecond: (1000 * total((run) => run.decoded)) / total((run) => run.decodeMs),
      bound: { tokensPerSecond: outputs / seconds, decodeTokensPerSecond: decodeRate },
    };
  };
  const control = rates(full);
  const ratios = {};
  let bound = Number.POSITIVE_INFINITY;
  for (const setting of compressed) {
    const own = rates(setting);
    ratios[`factor${setting.name}`] = own.tokensPerSecond / control.tokensPerSecond;
    ratios[`decode${setting.name}`] = own.decodeTokensPerSecond / control.decodeTokensPerSecond;
    for (const rate of ["tokensPerSecond", "decodeTokensPerSecond"])
      bound = Math.min(bound, own[rate] / own.bound[rate]);
  }
  ratios.bound = bound;
  ratios.withinBudget = Number(results.every(({ withinBudget }) => withinBudget));
  const rounded = (values) =>
    Object.fromEntries(Object.entries(values).map(([k, v]) => [k, +v.toFixed(2)]));
  return {
    ratios: Object.fromEntries(Object.entries(ratios).map(([k, v]) => [k, +v.toFixed(3)])),
    figures: {
      maxStall: at < 0 ? "default" : String(scheduler.maxStall),
      runs: results.map(({ name, figures }) => ({ kept: name, ...figures })),
      bounds: Object.fromEntries(
        [full, ...compressed].map((setting) => [setting.name, rounded(rates(setting).bound)]),
      ),
    },
  };
}
