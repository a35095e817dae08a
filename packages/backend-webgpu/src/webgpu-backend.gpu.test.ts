import { createReferenceBackend } from "@kvcache/backend-reference";
import { blocksFor, cacheLayout, hostTensor, indptrOf } from "@kvcache/core";
import { addSums, createHostEncoder, keyNorm, readSums } from "@kvcache/kernels";
import { createPagedCache } from "@kvcache/paged";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { smallModel, step } from "./small-model.ts";
import { worst } from "./test-gpu.ts";
import { createWebGpuBackend, type WebGpuBackend } from "./webgpu-backend.ts";

let backend: WebGpuBackend;
beforeAll(async () => {
  backend = await createWebGpuBackend();
});
afterAll(() => backend.dispose());

const model = smallModel();
const { shape } = model.graph;
const options = {
  layout: cacheLayout(shape, { blockSize: 4 }),
  maxSequences: 4,
  maxTokensPerSequence: 64,
  numBlocks: 4 * shape.numLayers * shape.numKvHeads * blocksFor(64, 4),
  windowSize: 8,
};
const ids = (count: number, seed = 0) =>
  Array.from({ length: count }, (_, i) => (7 * i + seed) % 61);

it("says what it runs on in one line", () => {
  expect(backend.description).toMatch(/^webgpu: .+, kernels T1.*f32 arithmetic$/);
  expect(backend.description).not.toContain("\n");
});

it("forks, cuts, shares prefixes and swaps as a cache in host memory does", async () => {
  const device = await backend.createCache(options);
  const host = createPagedCache(options);
  const results: number[][][] = [];
  for (const [cache, own] of [
    [device, backend],
    [host, createReferenceBackend()],
  ] as const) {
    const session = own.attach(cache);
    const loaded = await session.load(model.graph, model.weights);
    const logits: number[][] = [];
    const feed = async (sequence: number, tokens: number[]) =>
      logits.push([...(await loaded.forward(step(cache, [{ sequence, tokens }])))]);
    const a = cache.open();
    await feed(a, ids(18));
    const b = cache.fork(a);
    await feed(a, ids(3, 1));
    await feed(b, ids(2, 2));
    cache.truncate(b, 11);
    await feed(b, ids(4, 3));
    const key = { namespace: "m", tokenIds: Int32Array.from(ids(18)) };
    cache.prefixes.publish(a, key, 16);
    const c = cache.open();
    expect(cache.prefixes.adopt(c, key, 17)).toBe(16);
    await feed(c, ids(2, 4));
    cache.unshare(c);
    await feed(c, ids(1, 5));
    const bytes = await cache.exportSequence(b);
    cache.close(b);
    const back = cache.importSequence(bytes);
    await feed(back, ids(2, 6));
    results.push(logits);
    await loaded.dispose();
    await session.dispose();
  }
  results[0]!.forEach((logits, i) => {
    expect(worst(logits, results[1]![i]!), `pass ${i}`).toBeLessThan(1e-4);
  });
  device.dispose();
});

it("shares compressed prefixes with their window queries", async () => {
  const cache = await backend.createCache(options);
  const session = backend.attach(cache);
  const loaded = await session.load(model.graph, model.weights);
  const a = cache.open();
  await loaded.forward(step(cache, [{ sequence: a, tokens: ids(12), flags: 1 }]));
  const batch = cache.batch([a], { protect: { sinks: 0, recent: 0 }, phase: "prefill" });
  const kept = Array.from({ length: batch.numRows }, (_, row) => [0, 2 + row, 9, 11]);
  await cache.compact(session.encoder(), batch, {
    indptr: hostTensor(indptrOf(kept.map((slots) => slots.length))),
    indices: hostTensor(Uint32Array.from(kept.flat())),
  });
  const key = { namespace: "m", tokenIds: Int32Array.from(ids(12)) };
  cache.prefixes.publishCompressed(a, key, "plan");
  const expected = (await cache.snapshot([a])).windowQueries.slice(0, 64);
  const first = await loaded.forward(step(cache, [{ sequence: a, tokens: [5], flags: 1 }]));
  cache.close(a);
  const other = cache.open();
  const b = cache.open();
  expect(cache.prefixes.adoptCompressed(b, key, "plan")).toBe(true);
  const ring = (await cache.snapshot([b])).windowQueries;
  const width = ring.length / cache.maxSequences;
  expect(Math.max(...expected.map(Math.abs))).toBeGreaterThan(0);
  expect([...ring.subarray(b * width, b * width + 64)]).toEqual([...expected]);
  const again = await loaded.forward(step(cache, [{ sequence: b, tokens: [5], flags: 1 }]));
  expect([...again]).toEqual([...first]);
  cache.close(other);
  await session.dispose();
  cache.dispose();
});

describe("kernels without WGSL", () => {
  it("run on the host, counted, and what they change arrives on the device", async () => {
    const cache = await backend.createCache(options);
    const session = backend.attach(cache);
    const loaded = await session.load(model.graph, model.weights);
    const a = cache.open();
    await loaded.forward(step(cache, [{ sequence: a, tokens: ids(9), flags: 2 }]));
    const batch = cache.batch([a], { protect: { sinks: 0, recent: 0 }, phase: "prefill" });
    const encoder = session.encoder();
    const [before, norms, after] = [0, 1, 2].map(() => encoder.tensor("f32", batch.totalSlots));
    const noWgsl = <P>({ name, reference }: { name: string; reference: (params: P) => void }) => ({
      name,
      reference,
    });
    encoder.run(noWgsl(readSums), { batch, power: 1, out: before! });
    encoder.run(noWgsl(keyNorm), { batch, out: norms! });
    encoder.run(noWgsl(addSums), { batch, power: 1, values: norms! });
    const first = await encoder.read(before!);
    const added = await encoder.read(norms!);
    expect(Object.fromEntries(session.fallbacks())).toEqual({
      "read-sums": 1,
      "key-norm": 1,
      "add-sums": 1,
    });
    // A pass in between makes the device's copy the only true one.
    await loaded.forward(step(cache, [{ sequence: a, tokens: [3] }]));
    const view = { ...cache.batch([a], { protect: batch.protect, phase: "decode" }) };
    const host = createHostEncoder();
    const sums = host.tensor("f32", view.totalSlots);
    host.run(readSums, {
      batch: { ...view, host: await cache.snapshot([a]) },
      power: 1,
      out: sums,
    });
    const now = await host.read(sums);
    const rows = batch.numRows;
    for (let row = 0; row < rows; row++)
      for (let j = 0; j < 9; j++)
        expect(now[row * 10 + j]).toBeCloseTo(first[row * 9 + j]! + added[row * 9 + j]!, 5);
    expect(() => encoder.run(keyNorm, { batch, out: after! })).not.toThrow();
    await expect(encoder.submit()).rejects.toMatchObject({ code: "disposed" });
    await session.dispose();
    cache.dispose();
  });
});

it("spreads layers over several arenas where one buffer is too small", async () => {
  const { numBlocks: _, ...rest } = options;
  const memoryBytes = 2 ** 16;
  const small = await backend.createCache({ ...rest, memoryBytes, maxArenaBytes: 2 ** 15 });
  const whole = await backend.createCache({ ...rest, memoryBytes });
  expect(small.stats().arenas.length).toBe(3);
  expect(whole.stats().arenas.length).toBe(1);
  const logits: Float32Array[] = [];
  for (const cache of [small, whole]) {
    const session = backend.attach(cache);
    const loaded = await session.load(model.graph, model.weights);
    const a = cache.open();
    await loaded.forward(step(cache, [{ sequence: a, tokens: ids(20) }]));
    const batch = cache.batch([a], { protect: { sinks: 0, recent: 0 }, phase: "prefill" });
    const kept = Array.from({ length: batch.numRows }, (_, row) => [0, 3 + row, 17, 19]);
    await cache.compact(session.encoder(), batch, {
      indptr: hostTensor(indptrOf(kept.map((slots) => slots.length))),
      indices: hostTensor(Uint32Array.from(kept.flat())),
    });
    logits.push(await loaded.forward(step(cache, [{ sequence: a, tokens: [3, 4] }])));
    await session.dispose();
    cache.dispose();
  }
  expect([...logits[0]!]).toEqual([...logits[1]!]);
  await expect(
    backend.createCache({ ...rest, memoryBytes, maxArenaBytes: 2 ** 10 }),
  ).rejects.toMatchObject({ code: "out-of-memory" });
});

it("keeps entries and weights as halves where asked to", async () => {
  const layout = cacheLayout(shape, { blockSize: 4, dtype: "f16" });
  const run = async (own: WebGpuBackend | ReturnType<typeof createReferenceBackend>) => {
    const cache =
      (await own.createCache?.({ ...options, layout })) ?? createPagedCache({ ...options, layout });
    const session = own.attach(cache);
    const weightFormat = own === backend ? "f16" : "f32";
    const loaded = await session.load(model.graph, model.weights, { weightFormat });
    const a = cache.open();
    await loaded.forward(step(cache, [{ sequence: a, tokens: ids(11) }]));
    const logits = await loaded.forward(step(cache, [{ sequence: a, tokens: ids(3) }]));
    await session.dispose();
    return logits;
  };
  const difference = worst(await run(backend), await run(createReferenceBackend()));
  expect(difference).toBeLessThan(2e-2);
  expect(difference).toBeGreaterThan(0);
});

it("gives the same bits twice and leaves no buffer behind", async () => {
  const once = async () => {
    const cache = await backend.createCache(options);
    const session = backend.attach(cache);
    const loaded = await session.load(model.graph, model.weights);
    const [a, b] = [cache.open(), cache.open()];
    const prompts = [
      { sequence: a, tokens: ids(21), flags: 6 },
      { sequence: b, tokens: ids(5), flags: 6 },
    ];
    const logits = await loaded.forward(step(cache, prompts));
    const host = await cache.snapshot([a, b]);
    const sums = host.arenas[0]!.sumSquaredAttention.slice();
    await session.dispose();
    cache.dispose();
    return [...logits, ...sums];
  };
  const before = backend.counts();
  const first = await once();
  expect(await once()).toEqual(first);
  const { buffers, bytes } = backend.counts();
  expect({ buffers, bytes }).toEqual({ buffers: before.buffers, bytes: before.bytes });
});
