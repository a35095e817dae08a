// Prefill, compression and 64 decoded tokens against kvpress (PyTorch on the CPU, the same weights,
// two threads), rounds interleaved. kvpress lives in a virtual environment that only this bench
// makes, under bench/peers/.venv: some gigabytes, the first time.
import { fileURLToPath } from "node:url";
import { compact } from "../kernels/dist/index.js";
import { createOrtBackend } from "../packages/backend-ort/dist/index.js";
import { cacheLayout, sequenceTokenBytes } from "../packages/core/dist/index.js";
import { loadModel } from "../packages/decoder/dist/index.js";
import { createRunner } from "../packages/engine/dist/index.js";
import { modelUrl } from "../packages/model-tiny/dist/index.js";
import { createPagedCache } from "../packages/paged/dist/index.js";
import { createPolicy } from "../packages/policies/all/dist/index.js";
import { openKvpress } from "./peers/kvpress.mjs";
import { median, spread } from "./statistics.mjs";

const threads = 2;
const decoded = 64;
const target = { ratio: 0.25 };

export default async function run({ log, quick }) {
  const folder = fileURLToPath(modelUrl);
  const peer = await openKvpress({ folder, threads, log });
  const model = await loadModel(folder);
  const layout = cacheLayout(model.graph.shape);
  const contexts = quick ? [1024] : [4096, 8192];
  const most = Math.max(...contexts) + decoded;
  const cache = createPagedCache({
    layout,
    maxSequences: 2,
    maxTokensPerSequence: most,
    memoryBytes: 2 * most * sequenceTokenBytes(layout),
    windowSize: 64,
    compaction: compact,
  });
  const backend = await createOrtBackend({ mode: "native", threads });
  const runner = await createRunner({ model, backend, cache });
  log(`${backend.description}; ${peer.description}`);
  const ours = async (name, ids) => {
    const sequence = runner.open({ eviction: { policy: createPolicy(name), target } });
    const start = performance.now();
    await sequence.prefill(ids);
    await sequence.compress();
    await sequence.greedy(decoded);
    const seconds = (performance.now() - start) / 1000;
    sequence.close();
    return seconds;
  };
  const ratios = {};
  const figures = {};
  for (const context of contexts)
    for (const name of ["snap-kv", "ada-kv"]) {
      const ids = Int32Array.from({ length: context }, (_, i) => 300 + ((i * 7919) % 7000));
      const times = { ours: [], theirs: [] };
      for (let round = -1; round < (quick ? 1 : 3); round++) {
        const mine = await ours(name, ids);
        const other = await peer.run({ press: name, ids: [...ids], ratio: target.ratio, decoded });
        if (round < 0) continue;
        times.ours.push(mine);
        times.theirs.push(other);
      }
      const key = `${name}-${context / 1024}k`;
      ratios[key] = median(times.theirs) / median(times.ours);
      figures[key] = { ours: median(times.ours), kvpress: median(times.theirs) };
      log(
        `${key.padEnd(12)} ${ratios[key].toFixed(2)} ×   ours ${spread(times.ours, 2)} s, kvpress ${spread(times.theirs, 2)} s`,
      );
    }
  peer.close();
  await runner.dispose();
  await backend.dispose();
  return { ratios, figures };
}
