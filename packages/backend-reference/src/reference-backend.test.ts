import type { StepInput } from "@kvcache/core";
import { gatherKeys, gatherValues, keyNorm, rowView } from "@kvcache/kernels";
import { beforeEach, describe, expect, it } from "vitest";
import { createReferenceBackend } from "./index.ts";
import { llamaGraph, oneSequenceCache, readSafetensors } from "./test-model.ts";

// A random Llama and what transformers 5.2.0 computes with it, in float32.
const folder = new URL("./__fixtures__/", import.meta.url);
const model = readSafetensors(new URL("llama-gqa63-tied-bf16.model.safetensors", folder));
const golden = readSafetensors(new URL("llama-gqa63-tied-bf16.case.safetensors", folder));
const shape = { numLayers: 2, numQueryHeads: 6, numKvHeads: 3, headDim: 8 };
const graph = llamaGraph(shape, { hidden: 48, inner: 80, vocab: 160 });
const inputIds = golden.integers("inputIds");

function stepOf(ids: Int32Array, first: number, wanted: "all" | "last"): StepInput {
  const positions = ids.map((_, i) => first + i);
  return {
    tokenIds: ids,
    positions,
    ropeLengths: positions.map(() => first + ids.length),
    cuTokens: Int32Array.of(0, ids.length),
    sequences: Int32Array.of(0),
    logitIndices: wanted === "all" ? ids.map((_, i) => i) : Int32Array.of(ids.length - 1),
    signalFlags: Int32Array.of(0),
    attentionBuffers: Int32Array.of(0),
  };
}

function expectClose(got: Float32Array, expected: Float32Array, tolerance: number): void {
  expect(got.length).toBe(expected.length);
  got.forEach((value, i) => {
    const limit = tolerance * Math.max(1, Math.abs(expected[i]!));
    expect(Math.abs(value - expected[i]!), `entry ${i}`).toBeLessThanOrEqual(limit);
  });
}

describe("reference backend", () => {
  let cache: ReturnType<typeof oneSequenceCache>;
  beforeEach(() => {
    cache = oneSequenceCache(shape, 64);
  });
  const load = () => createReferenceBackend().attach(cache.manager).load(graph, model.weights);

  for (const chunk of [40, 13])
    it(`gives transformers' logits, keys and values: prompt in chunks of ${chunk}`, async () => {
      const llama = await load();
      const logits = golden.floats("logits");
      for (let first = 0; first < inputIds.length; first += chunk) {
        const ids = inputIds.slice(first, first + chunk);
        cache.append(ids.length);
        const got = await llama.forward(stepOf(ids, first, "all"));
        expectClose(got, logits.slice(first * 160, (first + ids.length) * 160), 1e-4);
      }
      for (let row = 0; row < 6; row++) {
        const view = rowView(cache.host, 0, Math.floor(row / 3), row % 3);
        const part = (name: string) => golden.floats(name).slice(row * 320, (row + 1) * 320);
        expectClose(gatherKeys(view), part("keys"), 1e-4);
        expectClose(gatherValues(view), part("values"), 1e-4);
      }
      const nextLogits = golden.floats("nextLogits");
      for (const [i, id] of golden.integers("nextIds").entries()) {
        cache.append(1);
        const got = await llama.forward(stepOf(Int32Array.of(id), 40 + i, "last"));
        expectClose(got, nextLogits.slice(i * 160, (i + 1) * 160), 1e-4);
      }
    });

  it("decodes greedily as transformers does", async () => {
    const llama = await load();
    const greedy = golden.integers("greedyIds");
    let ids = inputIds;
    for (const expected of greedy) {
      const first = cache.host.nextPositions[0]!;
      cache.append(ids.length);
      const logits = await llama.forward(stepOf(ids, first, "last"));
      expect(logits.indexOf(Math.max(...logits))).toBe(expected);
      ids = Int32Array.of(expected);
    }
  });

  it("runs kernels while they are recorded", async () => {
    const session = createReferenceBackend().attach(cache.manager);
    const encoder = session.encoder();
    const out = encoder.tensor("f32", 0);
    encoder.run(keyNorm, {
      out,
      batch: {
        shape,
        layout: cache.host.layout,
        sequences: [0],
        layers: [0, 1],
        numRows: 6,
        rowIndptr: encoder.upload(new Uint32Array(7)),
        totalSlots: 0,
        nextPositions: [0],
        windowLengths: [0],
        protect: { sinks: 0, recent: 0 },
        phase: "prefill",
        host: cache.host,
      },
    });
    expect(await encoder.read(out)).toEqual(new Float32Array(0));
    expect(session.fallbacks().size).toBe(0);
  });

  it("lets timers run during a long step", async () => {
    const big = { numLayers: 1, numQueryHeads: 4, numKvHeads: 2, headDim: 32 };
    const size = { hidden: 256, inner: 512, vocab: 64 };
    const wide = llamaGraph(big, size);
    const memory = oneSequenceCache(big, 512);
    const rows: Record<string, number> = { up: 512, gate: 512, down: 256, q: 128, o: 256, k: 64 };
    const columns: Record<string, number> = { down: 512, o: 128 };
    const weights = {
      has: () => true,
      get(name: string) {
        const kind = /(\w+)_proj/.exec(name)?.[1] ?? "";
        const shapeOf = name.includes("norm")
          ? [256]
          : name.includes("embed")
            ? [64, 256]
            : [rows[kind] ?? 64, columns[kind] ?? 256];
        const length = shapeOf.reduce((a, b) => a * b, 1);
        const values = Float32Array.from({ length }, (_, i) => Math.sin(i) / 16);
        return { dtype: "f32" as const, shape: shapeOf, data: new Uint8Array(values.buffer) };
      },
    };
    const llama = await createReferenceBackend().attach(memory.manager).load(wide, weights);
    memory.append(512);
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await llama.forward(stepOf(new Int32Array(512).fill(3), 0, "last"));
    clearInterval(timer);
    expect(turns).toBeGreaterThan(1);
  });

  it("says what is wrong", async () => {
    const backend = createReferenceBackend();
    const session = backend.attach(cache.manager);
    await expect(
      session.load(graph, model.weights, { weightFormat: "int8" }),
    ).rejects.toMatchObject({ code: "unsupported", value: "int8" });
    await expect(
      session.load({ ...graph, shape: { ...shape, headDim: 4 } }, model.weights),
    ).rejects.toThrowError(/headDim 4, the cache 8/);
    await expect(session.load({ ...graph, vocabSize: 161 }, model.weights)).rejects.toThrowError(
      /has shape \[160,48\], the model needs \[161,48\]/,
    );
    const aborted = AbortSignal.abort();
    await expect(session.load(graph, model.weights, { signal: aborted })).rejects.toMatchObject({
      code: "aborted",
    });
    const llama = await session.load(graph, model.weights);
    cache.append(1);
    await expect(llama.forward(stepOf(Int32Array.of(160), 0, "last"))).rejects.toMatchObject({
      code: "invalid-argument",
      value: 160,
    });
    const first = llama.forward(stepOf(Int32Array.of(1), 0, "last"));
    await expect(llama.forward(stepOf(Int32Array.of(1), 0, "last"))).rejects.toThrowError(
      /running/,
    );
    await first;
    await backend.dispose();
    await expect(llama.forward(stepOf(Int32Array.of(1), 0, "last"))).rejects.toMatchObject({
      code: "disposed",
    });
  });
});
