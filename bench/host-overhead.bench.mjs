// Engine step time outside the backend's run ÷ step time while many sequences decode model-tiny:
// schedule, tables, sampling, events. Full cache and kv-compress, so that compaction is in it too.
import { fileURLToPath } from "node:url";
import { compact } from "../kernels/dist/index.js";
import { createOrtBackend } from "../packages/backend-ort/dist/index.js";
import { cacheLayout, sequenceTokenBytes } from "../packages/core/dist/index.js";
import { loadModel } from "../packages/decoder/dist/index.js";
import { createEngine } from "../packages/engine/dist/index.js";
import { createPagedCache } from "../packages/paged/dist/index.js";
import { kvCompress } from "../packages/policies/kv-compress/dist/index.js";
import { median } from "./statistics.mjs";
import { timedBackend } from "./timed-backend.mjs";

const folder = fileURLToPath(new URL("../packages/model-tiny/model", import.meta.url));
const running = 64;
const threads = 2;

/** Shares of host time in the steps of one run, and their milliseconds. */
async function measure(model, { plan, temperature }, { promptTokens, newTokens }) {
  const layout = cacheLayout(model.graph.shape);
  const maxTokensPerSequence = promptTokens + newTokens + 16;
  const cache = createPagedCache({
    layout,
    maxSequences: running,
    maxTokensPerSequence,
    memoryBytes: running * maxTokensPerSequence * sequenceTokenBytes(layout),
    windowSize: 64,
    compaction: compact,
  });
  const backend = timedBackend(await createOrtBackend({ mode: "native", threads }));
  const engine = await createEngine({ model, backend, cache });
  const streams = Array.from({ length: running }, (_, s) =>
    engine.generate({
      prompt: Int32Array.from({ length: promptTokens }, (_, i) => 300 + ((i * 7919 + s) % 7000)),
      maxTokens: newTokens,
      stop: { ignoreEos: true },
      sampling: { temperature, seed: s },
      plan,
    }),
  );
  const steps = [];
  let last;
  let iterations = 0;
  const watcher = (async () => {
    for await (const event of streams[running - 1]) {
      if (event.type !== "token") continue;
      const now = { time: performance.now(), inside: backend.inside() };
      const { running: busy } = engine.stats();
      // Whole steps in which everybody decoded.
      if (last && busy === running && ++iterations > 8)
        steps.push({
          milliseconds: now.time - last.time,
          outside: now.time - last.time - (now.inside - last.inside),
        });
      last = now;
    }
  })();
  await Promise.all([...streams.map(({ result }) => result), watcher]);
  await engine.dispose();
  await backend.dispose();
  cache.dispose();
  const total = steps.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const outside = steps.reduce((sum, step) => sum + step.outside, 0);
  return {
    share: outside / total,
    steps: steps.length,
    stepMs: median(steps.map(({ milliseconds }) => milliseconds)),
    outsideMs: median(steps.map((step) => step.outside)),
  };
}

export default async function run({ log, quick }) {
  const model = await loadModel(folder);
  const sizes = { promptTokens: quick ? 64 : 256, newTokens: quick ? 64 : 200 };
  const eviction = { policy: kvCompress({ protectedWindow: 16 }), target: { ratio: 1 / 8 } };
  const figures = {};
  const settings = {
    greedy: { plan: {}, temperature: 0 },
    sampled: { plan: {}, temperature: 0.7 },
    compressed: { plan: { eviction }, temperature: 0.7 },
  };
  for (const [name, setting] of Object.entries(settings)) {
    const { share, steps, stepMs, outsideMs } = await measure(model, setting, sizes);
    figures[name] = {
      share: +share.toFixed(4),
      stepMs: +stepMs.toFixed(2),
      outsideMs: +outsideMs.toFixed(3),
      steps,
    };
    log(
      `${name.padEnd(10)} ${running} running: step ${stepMs.toFixed(2)} ms, outside the backend ` +
        `${outsideMs.toFixed(2)} ms (median), ${(100 * share).toFixed(1)} % of all time, ${steps} steps`,
    );
  }
  const ratios = Object.fromEntries(
    Object.entries(figures).map(([name, { share }]) => [`hostOverhead.${name}`, share]),
  );
  // What the bar is about: the worst of them.
  ratios.hostOverhead = Math.max(...Object.values(ratios));
  return { ratios, figures };
}
