import {
  type DefensiveScoreParams,
  defensiveScore,
  type WindowScoreParams,
  windowScore,
} from "@kvcache/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DeviceBatch, deviceBatch } from "./device-batch.ts";
import { numbers } from "./test-gpu.ts";

const plain = { window: 5, rowReduce: "mean", groupReduce: "mean" } as const;
const cases: Readonly<Record<string, Omit<WindowScoreParams, "batch" | "out">>> = {
  plain,
  "one query": { ...plain, window: 1 },
  "more queries than one sequence has": { ...plain, window: 16, rowReduce: "sum" },
  "average pooling": { ...plain, pooling: { kind: "avg", size: 5 }, excludeWindow: true },
  "pooled before the group is reduced": {
    ...plain,
    pooling: { kind: "max", size: 7 },
    poolFirst: true,
    excludeWindow: true,
    groupReduce: "max",
  },
  "squares in slabs, with a buffer": {
    window: 11,
    power: 2,
    buffer: 3,
    pooling: { kind: "max", size: 3 },
    poolFirst: true,
    rowReduce: "sum",
    groupReduce: "sum",
    slab: 4,
  },
  "all heads, window left out": { ...plain, window: 1, allHeads: true, excludeWindow: true },
  "largest of all heads, pooled": {
    ...plain,
    allHeads: true,
    groupReduce: "max",
    pooling: { kind: "avg", size: 3 },
  },
  "a factor on logits": { ...plain, window: 10, scale: 0.9 },
};

const pooling = { kind: "avg", size: 5 } as const;
const defensive = { window: 4, pooling, criticalMass: 0.8, windowBias: "reference" } as const;
const defences: Readonly<
  Record<string, Omit<DefensiveScoreParams, "batch" | "out" | "norms" | "target">>
> = {
  measured: defensive,
  "given bias, largest": { ...defensive, pooling: { kind: "max", size: 3 }, windowBias: 0 },
  "little mass": { ...defensive, window: 9, criticalMass: 0.1 },
  "no mass": { ...defensive, windowBias: 1 },
  "all mass": { ...defensive, criticalMass: 1.5, windowBias: 0 },
};

describe.each([{ dtype: "f32" }, { dtype: "f16", maxArenaBytes: 2 ** 17 }] as const)(
  "the window of a cache of $dtype",
  (options) => {
    let t: DeviceBatch;
    beforeAll(async () => {
      t = await deviceBatch(options);
    });
    afterAll(() => t.dispose());

    it.each(Object.entries(cases))("window-score: %s", async (name, params) => {
      await t.agree(name, (encoder, batch) => {
        const out = encoder.tensor("f32", batch.totalSlots);
        encoder.run(windowScore, { ...params, batch, out });
        return out;
      });
    });

    it.each(Object.entries(defences))("defensive-score: %s", async (name, params) => {
      for (const target of [undefined, { ratio: 0.6 }, { tokens: 9 }])
        await t.agree(name, (encoder, batch) => {
          const out = encoder.tensor("f32", batch.totalSlots);
          const norms = encoder.upload(numbers(batch.totalSlots, 8).map(Math.abs));
          encoder.run(defensiveScore, { ...params, batch, target, norms, out });
          return out;
        });
    });

    it("refuses a window that the cache does not keep", async () => {
      const encoder = t.session.encoder();
      const out = encoder.tensor("f32", t.batch.totalSlots);
      encoder.run(windowScore, { ...plain, window: 17, batch: t.batch, out });
      await expect(encoder.submit()).rejects.toMatchObject({ code: "missing-signal" });
    });
  },
);
