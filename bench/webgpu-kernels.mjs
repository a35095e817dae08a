// Single kernels of the main road, as the backend records them: bars as parts of what a plain copy or
// a plain read does in the same run.

import { linearWgsl, topK, windowScore } from "../kernels/src/index.ts";
import { writeStep } from "../packages/backend-webgpu/src/device-step.ts";
import { dispatchesOf } from "../packages/backend-webgpu/src/record-node.ts";
import { createScratch } from "../packages/backend-webgpu/src/scratch.ts";
import { createDeviceCache } from "../packages/backend-webgpu/src/webgpu-cache.ts";
import { createWgslRecorder } from "../packages/backend-webgpu/src/wgsl-recorder.ts";
import { cacheLayout, sequenceTokenBytes } from "../packages/core/src/index.ts";

/** A cache of one or more layers whose contents the device made up. */
export function filledCache(bench, shape, lengths, options = {}) {
  const layout = cacheLayout(shape, { blockSize: 16, dtype: "f16" });
  const slack = options.slack ?? 16;
  const slots = lengths.reduce((sum, n) => sum + Math.ceil((n + slack) / 16) * 16, 0);
  const device = createDeviceCache(bench.gpu, bench.queue, {
    layout,
    maxTokensPerSequence: Math.max(...lengths) + slack,
    maxSequences: lengths.length,
    memoryBytes: slots * sequenceTokenBytes(layout),
    windowSize: options.windowSize ?? 0,
  });
  const { cache, memory, host } = device;
  const sequences = lengths.map((length) => {
    const sequence = cache.open();
    cache.append(sequence, length);
    return sequence;
  });
  memory.arenas.forEach(({ storage }, i) => {
    bench.fill(storage, "f16", 1, 7 * i);
  });
  bench.fill(memory.windowQueries, "f32");
  const sendPositions = () => {
    memory.arenas.forEach(({ side }, i) => {
      bench.queue.write(side, 0, host.arenas[i].positions);
    });
    bench.queue.flush();
  };
  sendPositions();
  return { device, cache, sequences, sendPositions };
}

/** The dispatches that a recording makes, which run when they are timed. */
function collected(bench, device, record) {
  const dispatches = [];
  const queue = { ...bench.queue, dispatch: (dispatch) => dispatches.push(dispatch) };
  const tensors = [];
  const recorder = createWgslRecorder(device, queue, (tensor) => {
    tensors.push(tensor);
    return tensor;
  });
  record(recorder);
  return {
    dispatches,
    release() {
      for (const tensor of tensors) tensor.release(bench.queue);
    },
  };
}

/** SnapKV's score of 131k tokens for 4 KV heads by the last 32 queries. */
export async function measureWindowScore(bench, quick) {
  const tokens = quick ? 2048 : 131072;
  const shape = { numLayers: 1, numQueryHeads: 4, numKvHeads: 4, headDim: 128 };
  const filled = filledCache(bench, shape, [tokens], { windowSize: 32 });
  const { cache, device, sequences } = filled;
  const batch = cache.batch(sequences, { protect: { sinks: 0, recent: 32 }, phase: "prefill" });
  const out = bench.room(batch.totalSlots);
  const run = collected(bench, device, (recorder) => {
    windowScore.wgsl.record(
      {
        batch,
        out,
        window: 32,
        rowReduce: "sum",
        groupReduce: "mean",
        pooling: { kind: "max", size: 7 },
        excludeWindow: true,
      },
      recorder,
    );
  });
  const seconds = await bench.time(run.dispatches);
  const parts = {};
  for (const dispatch of run.dispatches) {
    parts[dispatch.name] = Math.min(...(await bench.time([dispatch], 5)));
  }
  run.release();
  bench.queue.flush();
  bench.gpu.release(out);
  cache.dispose();
  return { seconds, bytes: 4 * tokens * 256, parts };
}

/** Lengths from 512 on with a heavy tail (Pareto, exponent 1), cut at 32k; the same in every run. */
function heavyTail(count, longest) {
  let state = 12345;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.min(longest, Math.floor(512 / (1 - state / 2 ** 32)));
  });
}

/** Decode attention of 64 sequences of uneven lengths, one new token each. */
export async function measureDecodeAttention(bench, quick, group) {
  const lengths = quick ? heavyTail(4, 1024) : heavyTail(64, 32768);
  const shape = { numLayers: 1, numQueryHeads: 8 * group, numKvHeads: 8, headDim: 128 };
  const { cache, device, sequences } = filledCache(bench, shape, lengths);
  const graph = { shape, vocabSize: 2, ropes: [] };
  const scratch = createScratch(bench.gpu, bench.queue);
  const count = sequences.length;
  device.tables.sync(sequences);
  const ints = (f) => Int32Array.from({ length: count }, (_, i) => f(i));
  const step = writeStep(
    graph,
    device.host,
    {
      tokenIds: ints(() => 0),
      positions: ints((i) => lengths[i] - 1),
      ropeLengths: ints((i) => lengths[i]),
      cuTokens: Int32Array.from({ length: count + 1 }, (_, i) => i),
      sequences: ints((i) => sequences[i]),
      logitIndices: ints((i) => i),
      signalFlags: ints(() => 0),
      attentionBuffers: ints(() => 0),
    },
    scratch,
    bench.queue,
  );
  const value = (heads) => {
    const memory = bench.room(count * heads * 128);
    bench.fill(memory, "f32");
    return { memory, numRows: count, width: heads * 128 };
  };
  const values = [8 * group, 8, 8, 8 * group].map(value);
  const [query, key, val, out] = values;
  const node = { op: "pagedAttention", layer: 0, scale: 128 ** -0.5 };
  const pass = {
    graph,
    device,
    step,
    scratch,
    maxBytes: bench.gpu.maxBindingBytes,
  };
  const dispatches = dispatchesOf(node, pass, out, [query, key, val]);
  const seconds = await bench.time(dispatches);
  const parts = {};
  for (const dispatch of dispatches)
    parts[dispatch.name] = Math.min(...(await bench.time([dispatch], 5)));
  scratch.release();
  bench.queue.flush();
  for (const { memory } of values) bench.gpu.release(memory);
  cache.dispose();
  const bytes = lengths.reduce((sum, n) => sum + n, 0) * 8 * 512;
  return { seconds, bytes, parts, meanLength: lengths.reduce((sum, n) => sum + n, 0) / count };
}

/**
 * A matrix of 4096 × 14336 halves times few vectors; eight of them, so that caches do not help: one
 * dispatch each, or, `stacked`, as one matrix of 8 × 4096 rows, which no dispatch begins or ends.
 */
export async function measureLinear(bench, quick, numTokens, { stacked = false } = {}) {
  const [rows, inFeatures] = quick ? [256, 1024] : [4096, 14336];
  const copies = quick ? 1 : 8;
  const numMatrices = stacked ? 1 : copies;
  const outFeatures = stacked ? copies * rows : rows;
  const input = bench.room(numTokens * inFeatures);
  const out = bench.room(numTokens * outFeatures);
  bench.fill(input, "f32");
  const words = (outFeatures * inFeatures) / 2;
  const weights = Array.from({ length: numMatrices }, (_, i) => {
    const memory = bench.room(words);
    bench.fill(memory, "f16", 0.01, i);
    return memory;
  });
  const dispatches = weights.map((weight) =>
    linearWgsl({
      input,
      weight,
      dtype: "f16",
      firstRow: 0,
      numRows: outFeatures,
      out,
      numTokens,
      inFeatures,
      outFeatures,
      subgroups: bench.tier !== "T0",
    }),
  );
  const seconds = await bench.time(dispatches);
  bench.queue.flush();
  for (const memory of [input, out, ...weights]) bench.gpu.release(memory);
  return {
    seconds: seconds.map((s) => s / copies),
    bytes: 2 * rows * inFeatures,
    flops: 2 * numTokens * rows * inFeatures,
  };
}

/** Exact top-k of 256 rows of 131k scores, an eighth kept. */
export async function measureTopK(bench, quick) {
  const [numRows, length, keep] = quick ? [8, 4096, 512] : [256, 131072, 16384];
  const put = (data) => {
    const memory = bench.gpu.allocate("bench", "u32", data.length);
    bench.queue.write(memory, 0, data);
    return memory;
  };
  const scores = bench.room(numRows * length);
  bench.fill(scores, "f32");
  const indices = bench.room(numRows * keep);
  const rowIndptr = put(Uint32Array.from({ length: numRows + 1 }, (_, r) => r * length));
  const counts = put(new Uint32Array(numRows).fill(keep));
  const indptr = put(Uint32Array.from({ length: numRows + 1 }, (_, r) => r * keep));
  const dispatches = [];
  topK.wgsl.record(
    { rowIndptr, scores, counts, indptr, indices },
    { dispatch: (dispatch) => dispatches.push(dispatch), tensor: (_, n) => bench.room(n) },
  );
  const seconds = await bench.time(dispatches);
  bench.queue.flush();
  for (const memory of [scores, indices, rowIndptr, counts, indptr]) bench.gpu.release(memory);
  return { seconds, bytes: 4 * numRows * length };
}
