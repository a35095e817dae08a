// What compression costs: (prefill with the plan − prefill without) ÷ prefill without, at 8k tokens of
// text, by policy. Policies take turns with the control, so that all see the same machine; the fastest
// round counts, for other processes only ever add time. Each policy has a bar by what it asks of the
// forward pass.
//   --only a,b   only these policies      --tokens n   another prompt length      --rounds n
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { compact } from "../kernels/dist/index.js";
import { createOrtBackend } from "../packages/backend-ort/dist/index.js";
import { cacheLayout, sequenceTokenBytes, signalsOf } from "../packages/core/dist/index.js";
import { loadModel } from "../packages/decoder/dist/index.js";
import { createRunner } from "../packages/engine/dist/index.js";
import { demoDocumentUrl, modelUrl } from "../packages/model-tiny/dist/index.js";
import { createPagedCache } from "../packages/paged/dist/index.js";
import { createPolicy, policyNames } from "../packages/policies/all/dist/index.js";
import { methodOptions } from "./method-options.mjs";
import { spread } from "./statistics.mjs";

const threads = 2;
/** Policies that share a control. */
const groupSize = 4;

/** The policies named, or all that evict; each as its name says it. */
function chosen(graph, names) {
  const options = methodOptions(graph);
  return (names ?? policyNames)
    .filter((name) => name !== "full")
    .map((name) => createPolicy(name, options[name]));
}

/** They score parts of the cache again and again, or compare every token that goes with all that stay. */
const repeating = ["block", "chunk", "composed", "merging"];

/** Most that a policy may cost, as a part of the prefill. */
function barOf(policy) {
  const kinds = new Set(signalsOf(policy).map(({ kind }) => kind));
  if (kinds.has("replay")) return 1.6;
  if (kinds.has("attentionSums")) return 0.4;
  const cheap = [...kinds].every((kind) => ["windowQueries", "blockBounds"].includes(kind));
  return cheap && !repeating.includes(policy.name) ? 0.03 : 0.1;
}

export default async function run({ log, quick, options }) {
  const flag = (name) => (options.includes(name) ? options[options.indexOf(name) + 1] : undefined);
  const model = await loadModel(fileURLToPath(modelUrl));
  const policies = chosen(model.graph, flag("--only")?.split(","));
  const tokens = Number(flag("--tokens") ?? (quick ? 2048 : 8192));
  const rounds = Number(flag("--rounds") ?? (quick ? 1 : 3));
  const text = model.tokenizer.encode(readFileSync(demoDocumentUrl, "utf8"));
  const ids = Int32Array.from({ length: tokens }, (_, i) => text[i % text.length]);
  const layout = cacheLayout(model.graph.shape);
  const cache = createPagedCache({
    layout,
    maxSequences: 2,
    maxTokensPerSequence: 3 * tokens,
    memoryBytes: 4 * tokens * sequenceTokenBytes(layout),
    windowSize: 512,
    compaction: compact,
  });
  const backend = await createOrtBackend({ mode: "native", threads });
  const kinds = [...new Set(policies.flatMap(signalsOf).map(({ kind }) => kind))];
  const runner = await createRunner({ model, backend, cache, signals: kinds });
  log(`${backend.description}; ${tokens} tokens`);

  /** Seconds of the prompt's forward passes, and of the compression behind them. */
  const timed = async (plan) => {
    const sequence = runner.open(plan);
    const start = performance.now();
    await sequence.prefill(ids);
    const middle = performance.now();
    if (plan.eviction) await sequence.compress();
    const end = performance.now();
    sequence.close();
    return { prefill: (middle - start) / 1000, event: (end - middle) / 1000 };
  };
  const planOf = (policy) => ({
    eviction: { policy, target: { ratio: policy.budget.withoutTarget === undefined ? 0.25 : 1 } },
  });

  await timed({});
  const ratios = {};
  const figures = {};
  const missed = [];
  for (let at = 0; at < policies.length; at += groupSize) {
    const group = policies.slice(at, at + groupSize).map((policy) => ({ policy, times: [] }));
    const without = [];
    for (let round = 0; round < rounds; round++) {
      without.push((await timed({})).prefill);
      for (const { policy, times } of group) times.push(await timed(planOf(policy)));
    }
    without.push((await timed({})).prefill);
    for (const { policy, times } of group) {
      const whole = times.map(({ prefill, event }) => prefill + event);
      const event = Math.min(...times.map((time) => time.event));
      const withPlan = Math.min(...times.map(({ prefill }) => prefill)) + event;
      const control = Math.min(...without);
      const ratio = withPlan / control - 1;
      const bar = barOf(policy);
      if (ratio > bar) missed.push(policy.name);
      ratios[policy.name] = ratio;
      figures[policy.name] = { withPlan, without: control, event, bar };
      log(
        `${policy.name.padEnd(24)} ${percent(ratio)} of ${percent(bar)}${ratio > bar ? " !" : "  "} the event ${percent(event / control)}; ` +
          `${spread(whole, 2)} s against ${spread(without, 2)} s`,
      );
    }
  }
  await runner.dispose();
  await backend.dispose();
  log(`${policies.length - missed.length} of ${policies.length} within their bars`);
  return { ratios, figures: { ...figures, missed } };
}

const percent = (part) => `${(100 * part).toFixed(1).padStart(6)} %`;
