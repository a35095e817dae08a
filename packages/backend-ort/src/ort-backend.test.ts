import { fileURLToPath } from "node:url";
import { createReferenceBackend } from "@kvcache/backend-reference";
import {
  type BackendSession,
  type CacheManager,
  hostTensor,
  type StepInput,
  type WeightFormat,
} from "@kvcache/core";
import {
  gatherKeys,
  gatherValues,
  keyNorm,
  positionScore,
  rowView,
  slotOf,
  topK,
} from "@kvcache/kernels";
import { buildSync } from "esbuild";
import { afterAll, describe, expect, test } from "vitest";
import { createNativeSession } from "./native-session.ts";
import { addonForTests } from "./native-test.ts";
import { createOrtBackend } from "./ort-backend.ts";
import { createSegmentRunner } from "./segment-runner.ts";
import { createSegmentedSession } from "./segmented-session.ts";
import {
  nextStep,
  randomDecoder,
  type TestDecoder,
  type TestDecoderOptions,
  testCache,
} from "./test-decoder.ts";
import { roundedWeights } from "./test-weights.ts";
import { createWorkerRunner } from "./worker-runner.ts";

const addon = addonForTests("the backend");

// The built package has worker.js; from sources it is bundled here, inside the package so that
// onnxruntime-node is found.
const workerScript = new URL("../build/test-worker.js", import.meta.url);
buildSync({
  entryPoints: [fileURLToPath(new URL("./worker.ts", import.meta.url))],
  outfile: fileURLToPath(workerScript),
  bundle: true,
  platform: "node",
  format: "esm",
  conditions: ["@kvcache/source"],
  external: ["onnxruntime-node"],
});

type Attach = (cache: CacheManager) => BackendSession;
const modes: [string, Attach][] = [
  ...(addon
    ? ([["native", (cache) => createNativeSession(addon, 2, cache.host!)]] as [string, Attach][])
    : []),
  ["segmented", ({ host }) => createSegmentedSession(host!, () => createSegmentRunner(host!, 2))],
  [
    "segmented in a worker",
    ({ host }) =>
      createSegmentedSession(host!, async () =>
        createWorkerRunner(workerScript, { host: host!, threads: 2 }),
      ),
  ],
];

function expectClose(got: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number) {
  expect(got.length).toBe(expected.length);
  for (let i = 0; i < got.length; i++) {
    const limit = tolerance * Math.max(1, Math.abs(expected[i]!));
    if (!(Math.abs(got[i]! - expected[i]!) <= limit))
      throw new Error(`entry ${i}: got ${got[i]}, expected ${expected[i]}`);
  }
}

/** ‖got − expected‖ / ‖expected‖. */
function relativeError(got: readonly number[], expected: readonly number[]): number {
  const squares = (values: readonly number[]) => values.reduce((sum, x) => sum + x * x, 0);
  return Math.sqrt(squares(got.map((x, i) => x - expected[i]!)) / squares(expected));
}

/** Everything that a step leaves in the cache. */
function contents(cache: CacheManager): number[] {
  const host = cache.host!;
  const found: number[] = [];
  for (let sequence = 0; sequence < 2; sequence++)
    for (let layer = 0; layer < 2; layer++)
      for (let head = 0; head < 2; head++) {
        const row = rowView(host, sequence, layer, head);
        found.push(...gatherKeys(row), ...gatherValues(row));
        for (let j = 0; j < row.length; j++) {
          const slot = slotOf(row, j);
          found.push(row.arena.sumAttention[slot]!, row.arena.sumSquaredAttention[slot]!);
        }
      }
  return [...found, ...host.windowQueries];
}

/** Two sequences: a prompt, chunks of both at once, single tokens. */
async function scenario(
  attach: Attach,
  { graph, weights }: TestDecoder,
  weightFormat: WeightFormat = "f32",
) {
  const cache = testCache();
  const session = attach(cache);
  const model = await session.load(graph, weights, { weightFormat });
  const [a, b] = [cache.open(), cache.open()];
  const logits: number[] = [];
  for (const parts of [
    [[a, 37]],
    [
      [a, 5],
      [b, 23],
    ],
    [
      [b, 1],
      [a, 1],
    ],
    [[a, 1]],
  ] as const)
    logits.push(...(await model.forward(nextStep(cache, parts))));
  expect(await model.forward(nextStep(cache, [[b, 3]], "none"))).toHaveLength(0);
  const result = { logits, cache: contents(cache) };
  await session.dispose();
  return result;
}

const variants: [string, TestDecoderOptions][] = [
  ["a plain decoder", {}],
  [
    "biases, head norms, scales and softcaps",
    { extras: true, softcap: 2, activation: "gelu-tanh" },
  ],
  ["a sliding window and partial rotation", { slidingWindow: 9, ropeDim: 8 }],
];

describe.each(variants)("%s", (_, options) => {
  const reference = scenario(
    (cache) => createReferenceBackend().attach(cache),
    randomDecoder(options),
  );
  test.each(modes)("%s gives the reference's logits and cache", async (_, attach) => {
    const expected = await reference;
    const got = await scenario(attach, randomDecoder(options));
    expectClose(got.logits, expected.logits, 1e-4);
    expectClose(got.cache, expected.cache, 1e-4);
  });
});

describe.each(modes)("%s", (mode, attach) => {
  test.each(["f16", "int8", "int4"] as const)("weights as %s", async (format) => {
    const stored = await scenario(
      (cache) => createReferenceBackend().attach(cache),
      roundedWeights(randomDecoder({}), format),
    );
    const { logits } = await scenario(attach, randomDecoder({}), format);
    if (format === "f16") expectClose(logits, stored.logits, 1e-4);
    // The integer products round their inputs to 8 bits too.
    else expect(relativeError(logits, stored.logits)).toBeLessThan(0.05);
    const exact = await scenario(attach, randomDecoder({}));
    expect(logits).not.toEqual(exact.logits);
  });

  test("kernels run in order, and fallbacks are counted", async () => {
    const cache = testCache();
    const session = attach(cache);
    const { graph, weights } = randomDecoder({});
    const model = await session.load(graph, weights);
    const sequences = [cache.open(), cache.open()];
    await model.forward(
      nextStep(cache, [
        [sequences[0]!, 20],
        [sequences[1]!, 9],
      ]),
    );
    const batch = cache.batch(sequences, { protect: { sinks: 0, recent: 0 }, phase: "prefill" });
    const expected = hostTensor(new Float32Array(batch.totalSlots));
    keyNorm.reference({ batch, out: expected });

    const encoder = session.encoder();
    const scores = encoder.tensor("f32", batch.totalSlots);
    encoder.run(positionScore, { batch, out: scores });
    encoder.run(keyNorm, { batch, out: scores });
    expectClose((await encoder.read(scores)) as Float32Array, expected.data, 1e-5);
    expect(session.fallbacks().get("position-score")).toBe(1);
    expect(session.fallbacks().has("key-norm")).toBe(mode !== "native");

    const broken = session.encoder();
    const u32 = (...values: number[]) => broken.upload(Uint32Array.from(values));
    broken.run(topK, {
      rowIndptr: u32(0, 2),
      scores: broken.upload(Float32Array.of(1, 2)),
      counts: u32(3),
      indptr: u32(0, 3),
      indices: broken.tensor("u32", 3),
    });
    await expect(broken.submit()).rejects.toMatchObject({ code: "invalid-argument" });
    await broken.submit();
    await session.dispose();
  });

  test("values of the graph are given out on demand", async () => {
    const taps = ["q", "x", "a", "h"];
    const run = async (start: Attach) => {
      const cache = testCache();
      const session = start(cache);
      const { graph, weights } = randomDecoder({});
      const model = await session.load(graph, weights, { taps });
      const parts = [
        [cache.open(), 13],
        [cache.open(), 1],
      ] as const;
      const given = new Map<string, Float32Array>();
      const logits = await model.forward(nextStep(cache, parts), given);
      const without = await model.forward(nextStep(cache, parts));
      await session.dispose();
      return { given, logits: [...logits, ...without] };
    };
    const expected = await run((cache) => createReferenceBackend().attach(cache));
    const got = await run(attach);
    expectClose(got.logits, expected.logits, 1e-4);
    expect([...got.given.keys()].sort()).toEqual(taps.toSorted());
    for (const [name, values] of expected.given) {
      expect(values).toHaveLength(14 * (name === "q" || name === "a" ? 64 : 48));
      expectClose(got.given.get(name)!, values, 1e-4);
    }
  });

  test("use after dispose is an error", async () => {
    const cache = testCache();
    const session = attach(cache);
    const { graph, weights } = randomDecoder({});
    const [kept, gone] = [await session.load(graph, weights), await session.load(graph, weights)];
    const encoder = session.encoder();
    const sequence = cache.open();
    await gone.dispose();
    await gone.dispose();
    const step = nextStep(cache, [[sequence, 2]]);
    await expect(gone.forward(step)).rejects.toMatchObject({ code: "disposed" });
    expect(await kept.forward(step)).toHaveLength(2 * 96);
    await session.dispose();
    await session.dispose();
    await expect(kept.forward(step)).rejects.toMatchObject({ code: "disposed" });
    await expect(encoder.submit()).rejects.toMatchObject({ code: "disposed" });
    await expect(session.load(graph, weights)).rejects.toMatchObject({ code: "disposed" });
    expect(() => session.encoder()).toThrow(/disposed/);
  });

  test("steps that do not fit are refused, and the session goes on", async () => {
    const cache = testCache();
    const session = attach(cache);
    const { graph, weights } = randomDecoder({});
    const model = await session.load(graph, weights);
    const step = nextStep(cache, [[cache.open(), 4]]);
    const bad: Partial<StepInput>[] = [
      { positions: step.positions.subarray(1) },
      { cuTokens: Int32Array.of(0, 3) },
      { logitIndices: Int32Array.of(4) },
      { signalFlags: new Int32Array(0) },
    ];
    for (const change of bad)
      await expect(model.forward({ ...step, ...change })).rejects.toMatchObject({
        code: "invalid-argument",
      });
    // Nothing was appended for these.
    const elsewhere = { ...step, sequences: Int32Array.of(2) };
    await expect(model.forward(elsewhere)).rejects.toMatchObject({ code: "invalid-argument" });
    const outside = { ...step, tokenIds: Int32Array.of(1, 2, 3, 96) };
    await expect(model.forward(outside)).rejects.toMatchObject({ code: "invalid-argument" });
    expect(await model.forward(step)).toHaveLength(4 * 96);
    const other = { ...graph, shape: { ...graph.shape, numLayers: 3 } };
    await expect(session.load(other, weights)).rejects.toMatchObject({ code: "invalid-argument" });
    await session.dispose();
  });

  test("loading can be aborted and reports progress", async () => {
    const session = attach(testCache());
    const { graph, weights } = randomDecoder({});
    const controller = new AbortController();
    const seen: number[] = [];
    const loading = session.load(graph, weights, {
      signal: controller.signal,
      onProgress: (done, total) => {
        expect(total).toBe(graph.nodes.length);
        seen.push(done);
        if (done === 5) controller.abort();
      },
    });
    await expect(loading).rejects.toMatchObject({ code: "aborted" });
    expect(seen).toEqual([1, 2, 3, 4, 5]);
    await session.dispose();
  });
});

describe.each(modes.filter(([name]) => name !== "segmented"))("%s", (_, attach) => {
  test("the event loop turns during a long step", async () => {
    const cache = testCache();
    const session = attach(cache);
    const { graph, weights } = randomDecoder({ hidden: 512, inner: 2048 });
    const model = await session.load(graph, weights);
    const step = nextStep(cache, [[cache.open(), 1024]], "none");
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const start = performance.now();
    await model.forward(step);
    const elapsed = performance.now() - start;
    clearInterval(timer);
    // A blocked loop gives one turn or none; a busy machine still gives one every 25 ms.
    expect(turns).toBeGreaterThan(Math.max(2, elapsed / 25));
    await session.dispose();
  });
});

test("modes are chosen, described and refused", async () => {
  const segmented = await createOrtBackend({ mode: "segmented", threads: 1 });
  expect(segmented.description).toMatch(
    /^ort segmented \(as asked\): onnxruntime 1\.\d+.*1 thread/,
  );
  await segmented.dispose();
  expect(() => segmented.attach(testCache())).toThrow(/disposed/);
  await expect(createOrtBackend({ threads: 0 })).rejects.toMatchObject({
    code: "invalid-argument",
  });
  const before = process.env.KVCACHE_NATIVE;
  process.env.KVCACHE_NATIVE = "off";
  try {
    await expect(createOrtBackend({ mode: "native" })).rejects.toMatchObject({
      code: "unsupported",
    });
    const auto = await createOrtBackend();
    expect(auto.description).toContain("segmented (the native library is off");
    await auto.dispose();
  } finally {
    if (before === undefined) delete process.env.KVCACHE_NATIVE;
    else process.env.KVCACHE_NATIVE = before;
  }
});

afterAll(() => {
  if (addon) console.log(`native tests ran, ${modes.length} modes`);
});
