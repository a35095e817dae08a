import {
  type BackendSession,
  cacheLayout,
  type Encoder,
  hostTensor,
  indptrOf,
  type KvBatch,
  type Protect,
  type StorageDtype,
  type Tensor,
} from "@kvcache/core";
import { createHostEncoder } from "@kvcache/kernels";
import { expect } from "vitest";
import { smallModel, step } from "./small-model.ts";
import { numbers } from "./test-gpu.ts";
import { createWebGpuBackend } from "./webgpu-backend.ts";

/** A batch of two sequences on a device whose rows are ragged, and the same on the host. */
export interface DeviceBatch {
  readonly session: BackendSession;
  readonly batch: KvBatch;
  readonly onHost: KvBatch;
  /**
   * Runs a recording on both and compares what it returns; fails where it fell back. `tolerance` is
   * relative to the larger of 1 and the expected number; infinities must be equal.
   */
  agree(
    what: string,
    record: (encoder: Encoder, batch: KvBatch) => Tensor,
    tolerance?: number,
  ): Promise<void>;
  /** Command buffers that the device was given so far. */
  submits(): number;
  dispose(): Promise<void>;
}

export interface DeviceBatchOptions {
  readonly dtype?: Extract<StorageDtype, "f32" | "f16">;
  readonly protect?: Protect;
  /** So small that layers stand in several arenas. */
  readonly maxArenaBytes?: number;
  /** Dawn's null backend, which compiles and checks, but runs nothing. */
  readonly nothingRuns?: boolean;
}

export async function deviceBatch({
  dtype = "f32",
  protect = { sinks: 2, recent: 3 },
  maxArenaBytes,
  nothingRuns = false,
}: DeviceBatchOptions = {}): Promise<DeviceBatch> {
  const { graph, weights } = smallModel();
  const backend = await createWebGpuBackend({
    tier: "T0",
    ...(nothingRuns && { dawnOptions: ["backend=null"] }),
  });
  const cache = await backend.createCache({
    layout: cacheLayout(graph.shape, { blockSize: 4, dtype }),
    maxTokensPerSequence: 256,
    memoryBytes: 2 ** 18,
    windowSize: 16,
    ...(maxArenaBytes && { maxArenaBytes }),
  });
  const session = backend.attach(cache);
  const model = await session.load(graph, weights);
  const [a, b] = [cache.open(), cache.open()];
  const ids = (count: number) => Array.from({ length: count }, (_, i) => (7 * i + count) % 50);
  const flags = 7;
  await model.forward(
    step(cache, [
      { sequence: a, tokens: ids(150), flags },
      { sequence: b, tokens: ids(21), flags },
    ]),
  );
  const random = numbers(10_000, 3);
  let drawn = 0;
  // Holes are filled from behind, so that slots are out of order afterwards.
  for (const sequence of [a, b]) {
    const lengths = cache.sequenceStats(sequence).lengths;
    const kept = Array.from(lengths, (length, row) =>
      Array.from({ length }, (_, j) => j).filter(
        (j) => j === 0 || j > length - 3 || random[drawn++]! > (row % 3) / 3 - 0.6,
      ),
    );
    const encoder = createHostEncoder();
    const rows = cache.batch([sequence], { protect, phase: "pressure" });
    await cache.compact(encoder, rows, {
      indptr: hostTensor(indptrOf(kept.map((slots) => slots.length))),
      indices: hostTensor(Uint32Array.from(kept.flat())),
    });
  }
  await model.forward(
    step(cache, [
      { sequence: b, tokens: ids(2), flags },
      { sequence: a, tokens: ids(1), flags },
    ]),
  );
  const batch = cache.batch([b, a], { protect, phase: "decode" });
  const onHost = { ...batch, host: await cache.snapshot([a, b]) };

  return {
    session,
    batch,
    onHost,
    async agree(what, record, tolerance = 1e-5) {
      const before = [...session.fallbacks()];
      const [own, host] = [session.encoder(), createHostEncoder()];
      const got = await own.read(record(own, batch));
      const expected = await host.read(record(host, onHost));
      expect([...session.fallbacks()], `${what}: fallbacks`).toEqual(before);
      expect(got.length, what).toBe(expected.length);
      for (let i = 0; i < got.length; i++) {
        const [x, y] = [got[i]!, expected[i]!];
        const close = x === y || Math.abs(x - y) <= tolerance * Math.max(1, Math.abs(y));
        if (!close) expect.fail(`${what}, entry ${i}: ${x}, the reference gives ${y}`);
      }
    },
    submits: () => backend.counts().submits,
    async dispose() {
      await model.dispose();
      await session.dispose();
      cache.dispose();
      await backend.dispose();
    },
  };
}
