import type { EvictionPolicy } from "@kvcache/core";
import { recordCompression } from "@kvcache/engine";
import { createHostEncoder } from "@kvcache/kernels";
import { block, chunk, dms, snapKV } from "@kvcache/policies";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type DeviceBatch, deviceBatch } from "./device-batch.ts";

let t: DeviceBatch;
beforeAll(async () => {
  t = await deviceBatch();
});
afterAll(() => t.dispose());

/** Policies that look at parts of a cache: these run on the host, and say so. */
const policies: Readonly<Record<string, EvictionPolicy>> = {
  chunk: chunk({ chunk: 13 }),
  "chunk over snap-kv": chunk({ policy: snapKV({ window: 8 }), chunk: 20 }),
  dms: dms({ threshold: -1, window: 8, decoding: true }),
  "dms over snap-kv": dms({ policy: snapKV({ window: 8 }), window: 8 }),
  block: block({ block: 11 }),
  "block over snap-kv": block({ policy: snapKV({ window: 8 }), block: 16 }),
};

it.each(Object.entries(policies))("%s keeps what its reference keeps", async (name, policy) => {
  const { protect, scorer } = policy;
  const observed = () =>
    t.batch.sequences.map(() => scorer.createObserver?.(t.batch.layout)) as never;
  const [onDevice, onHost] = [observed(), observed()];
  // Twice, for what was scored once is not scored again.
  for (const phase of ["prefill", "decode"] as const)
    for (const part of ["counts", "indptr", "indices"] as const) {
      const own = t.session.encoder();
      const host = createHostEncoder();
      const record = (encoder: typeof own, on: typeof t.batch, observers: never) => {
        const batch = { ...on, protect, phase, observers };
        const { counts, keep } = recordCompression(encoder, batch, policy, { ratio: 0.4 });
        return part === "counts" ? counts : keep[part];
      };
      const got = await own.read(record(own, t.batch, onDevice));
      const expected = await host.read(record(host, t.onHost, onHost));
      expect([...got], `${name}, ${phase}, ${part}`).toEqual([...expected]);
    }
  const names = [...t.session.fallbacks().keys()].join();
  expect(names).toMatch(/chunkwise|on-arrival|select-blockwise/);
});
