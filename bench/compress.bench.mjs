// What compression costs: (prefill with the plan − prefill without) ÷ prefill without, at 8k tokens,
// by policy; rounds interleaved with the control.
import { fileURLToPath } from "node:url";
import { compact } from "../kernels/dist/index.js";
import { createOrtBackend } from "../packages/backend-ort/dist/index.js";
import { cacheLayout, sequenceTokenBytes, signalsOf } from "../packages/core/dist/index.js";
import { loadModel } from "../packages/decoder/dist/index.js";
import { createRunner } from "../packages/engine/dist/index.js";
import { modelUrl } from "../packages/model-tiny/dist/index.js";
import { createPagedCache } from "../packages/paged/dist/index.js";
import { createPolicy, policyNames } from "../packages/policies/all/dist/index.js";
import { median, spread } from "./statistics.mjs";

const threads = 2;
const target = { ratio: 0.25 };

/** Policies that run with nothing but their defaults. */
function runnable() {
  const policies = [];
  for (const name of policyNames) {
    if (name === "full") continue;
    try {
      policies.push(createPolicy(name));
    } catch {
      // It needs weights, a profile or another policy.
    }
  }
  return policies;
}

export default async function run({ log, quick, options }) {
  const at = options.indexOf("--policies");
  const wanted = at < 0 ? undefined : options[at + 1].split(",");
  const policies = runnable().filter(({ name }) => wanted === undefined || wanted.includes(name));
  const tokens = quick ? 2048 : 8192;
  const rounds = quick ? 1 : 3;
  const model = await loadModel(fileURLToPath(modelUrl));
  const ids = Int32Array.from({ length: tokens }, (_, i) => 300 + ((i * 7919) % 7000));
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
  const timed = async (plan) => {
    const sequence = runner.open(plan);
    const start = performance.now();
    await sequence.prefill(ids);
    if (plan.eviction) await sequence.compress();
    const seconds = (performance.now() - start) / 1000;
    sequence.close();
    return seconds;
  };
  await timed({});
  const ratios = {};
  const figures = {};
  for (const policy of policies) {
    const without = [];
    const withPlan = [];
    try {
      for (let round = 0; round < rounds; round++) {
        without.push(await timed({}));
        withPlan.push(await timed({ eviction: { policy, target } }));
      }
    } catch (error) {
      log(`${policy.name.padEnd(24)} ${error.message}`);
      continue;
    }
    ratios[policy.name] = (median(withPlan) - median(without)) / median(without);
    figures[policy.name] = { withPlan: median(withPlan), without: median(without) };
    log(
      `${policy.name.padEnd(24)} ${(100 * ratios[policy.name]).toFixed(1).padStart(7)} %   ${spread(withPlan, 2)} s against ${spread(without, 2)} s`,
    );
  }
  await runner.dispose();
  await backend.dispose();
  return { ratios, figures };
}
