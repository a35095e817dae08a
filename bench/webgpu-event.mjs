// One compression event over all layers, from the first recorded kernel to the last byte moved.
import { createWebGpuSession } from "../packages/backend-webgpu/src/webgpu-session.ts";
import { recordCompression } from "../packages/engine/src/index.ts";
import { adaKV, snapKV } from "../packages/policies/all/src/index.ts";
import { filledCache } from "./webgpu-kernels.mjs";

const policies = {
  "snap-kv": () => snapKV({ variant: "kvcache-factory", window: 32 }),
  "ada-kv": () => adaKV({ window: 32 }),
};

export async function measureEvents(bench, quick) {
  const [numLayers, tokens, rounds] = quick ? [2, 512, 2] : [32, 32768, 5];
  const shape = { numLayers, numQueryHeads: 32, numKvHeads: 8, headDim: 128 };
  const filled = filledCache(bench, shape, [tokens], { windowSize: 32 });
  const { cache, device, sendPositions } = filled;
  const session = createWebGpuSession(device, bench.queue);
  let [sequence] = filled.sequences;
  const results = {};
  for (const [name, make] of Object.entries(policies)) {
    const policy = make();
    const whole = [];
    const scored = [];
    let submits = 0;
    let kept = 0;
    // The first round compiles.
    for (let round = 0; round <= rounds; round++) {
      const { protect } = policy;
      const batch = cache.batch([sequence], { protect, phase: "prefill" });
      // Prefill left the tables of its last chunk on the device.
      device.tables.sync([sequence]);
      bench.queue.flush();
      await bench.done();
      const before = bench.queue.counts();
      const start = performance.now();
      const encoder = session.encoder();
      const { keep } = recordCompression(encoder, batch, policy, { ratio: 1 / 8 });
      await encoder.submit();
      // Without this, scoring and moving overlap; it is only done in the round that splits them.
      if (round === rounds) {
        await bench.done();
        scored.push(performance.now() - start);
      }
      await cache.compact(encoder, batch, keep);
      await bench.done();
      if (round > 0 && round < rounds) whole.push(performance.now() - start);
      submits = bench.queue.counts().submits - before.submits;
      kept = cache.sequenceStats(sequence).lengths.reduce((sum, n) => sum + n, 0);
      // As the next forward pass does.
      encoder.release();
      bench.queue.flush();
      cache.close(sequence);
      sequence = cache.open();
      cache.append(sequence, tokens);
      sendPositions();
    }
    results[name] = { milliseconds: whole, scoring: scored[0], submits, kept };
  }
  results.fallbacks = Object.fromEntries(session.fallbacks());
  await session.dispose();
  cache.dispose();
  return results;
}
