// Prefill and decode of model-tiny against llama.cpp (node-llama-cpp) on the same weights, rounds
// interleaved; and decoding over a cache that kv-compress cut to 1/8 against our own full cache.
import { fileURLToPath } from "node:url";
import { compact } from "../kernels/dist/index.js";
import { createOrtBackend } from "../packages/backend-ort/dist/index.js";
import { cacheLayout, sequenceTokenBytes } from "../packages/core/dist/index.js";
import { loadModel } from "../packages/decoder/dist/index.js";
import { createRunner } from "../packages/engine/dist/index.js";
import { createPagedCache } from "../packages/paged/dist/index.js";
import { kvCompress } from "../packages/policies/kv-compress/dist/index.js";
import { loadPeer } from "./peers/node-llama-cpp.mjs";
import { median, spread } from "./statistics.mjs";

const folder = fileURLToPath(new URL("../packages/model-tiny/model", import.meta.url));
const threads = 2;
const decoded = 32;

/** Our engine with one KV type: { prefill(ids), decode(ids) } in seconds, and a compressed run. */
async function openOurs(kvDtype, contextSize) {
  const model = await loadModel(folder);
  const layout = cacheLayout(model.graph.shape, { dtype: kvDtype });
  const cache = createPagedCache({
    layout,
    maxSequences: 2,
    maxTokensPerSequence: contextSize,
    memoryBytes: 2 * contextSize * sequenceTokenBytes(layout),
    windowSize: 64,
    compaction: compact,
  });
  const backend = await createOrtBackend({ mode: "native", threads });
  const runner = await createRunner({ model, backend, cache, maxBatchTokens: 512 });
  const eviction = { policy: kvCompress({ interval: 1024 }), target: { ratio: 1 / 8 } };
  let sequence;
  const timed = async (work) => {
    const start = performance.now();
    await work();
    return (performance.now() - start) / 1000;
  };
  return {
    description: backend.description,
    prefill(ids, compressed = false) {
      sequence?.close();
      sequence = runner.open(compressed ? { eviction } : {});
      return timed(() => sequence.prefill(ids));
    },
    compress: () => timed(() => sequence.compress()),
    decode: (ids) => timed(() => sequence.feed(ids)),
    async dispose() {
      sequence?.close();
      await runner.dispose();
      await backend.dispose();
      cache.dispose();
    },
  };
}

export default async function run({ log, quick }) {
  const rounds = quick ? 1 : 5;
  const peer = await loadPeer(folder, { threads, log });
  const figures = {};
  const ratios = { decode: Infinity, prefill: Infinity, decodeF16: Infinity, prefillF16: Infinity };
  for (const context of [4096, 16000]) {
    const ids = Int32Array.from({ length: context }, (_, i) => 300 + ((i * 7919) % 7000));
    const next = ids.subarray(0, decoded);
    for (const setting of [
      { kvType: "F32", flashAttention: false, suffix: "" },
      { kvType: "F16", flashAttention: true, suffix: "F16" },
    ]) {
      const contextSize = context + 4 * decoded;
      const ours = await openOurs(setting.kvType.toLowerCase(), contextSize);
      const theirs = await peer.open({ ...setting, contextSize });
      if (context === 4096 && setting.suffix === "") log(ours.description);
      const times = {
        ours: { prefill: [], decode: [] },
        theirs: { prefill: [], decode: [] },
        compressed: [],
      };
      for (let round = -1; round < rounds; round++) {
        for (const [name, engine] of [
          ["ours", ours],
          ["theirs", theirs],
        ]) {
          // Round −1 warms up on a short prompt.
          const prefill = await engine.prefill(round < 0 ? ids.subarray(0, 512) : ids);
          const decode = await engine.decode(next);
          if (round < 0) continue;
          times[name].prefill.push(context / prefill);
          times[name].decode.push(decoded / decode);
        }
        if (context === 16000 && setting.suffix === "" && round >= 0) {
          await ours.prefill(ids, true);
          await ours.compress();
          times.compressed.push(decoded / (await ours.decode(next)));
        }
      }
      for (const phase of ["prefill", "decode"]) {
        const ratio = median(times.ours[phase]) / median(times.theirs[phase]);
        const key = phase + setting.suffix;
        ratios[key] = Math.min(ratios[key], ratio);
        figures[`${key}@${context}`] = {
          ratio: +ratio.toFixed(3),
          ours: times.ours[phase].map((x) => +x.toFixed(1)),
          theirs: times.theirs[phase].map((x) => +x.toFixed(1)),
        };
        log(
          `${key.padEnd(10)} context ${String(context).padStart(5)}  ours ${spread(times.ours[phase])} tok/s  ` +
            `llama.cpp ${spread(times.theirs[phase])} tok/s  ratio ${ratio.toFixed(2)}`,
        );
      }
      if (times.compressed.length) {
        ratios.compressed = median(times.compressed) / median(times.ours.decode);
        figures.compressed = times.compressed.map((x) => +x.toFixed(1));
        log(
          `kv-compress 1/8 at ${context}: ${spread(times.compressed)} tok/s, ${ratios.compressed.toFixed(2)}× our full cache`,
        );
      }
      await ours.dispose();
      await theirs.dispose();
    }
  }
  await peer.dispose();
  return {
    ratios: Object.fromEntries(Object.entries(ratios).map(([k, v]) => [k, +v.toFixed(3)])),
    figures,
  };
}
