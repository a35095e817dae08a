import { hostTensor } from "@kvcache/core";
import { describe, expect, it } from "vitest";
import { gatherKeys, gatherPositions, rowView } from "../../src/row-view.ts";
import { randomFloats, randomNumbers, testBatch, testCache } from "../../src/test-cache.ts";
import { readVector, type TestVector } from "../../src/test-vectors.ts";
import { type WindowScoreParams, windowScore } from "./window-score.ts";

type Options = Omit<WindowScoreParams, "batch" | "out">;

/** Puts a vector's keys and queries into a cache, as a prefill of all its tokens would. */
function cacheOf(vector: TestVector) {
  const { layers, queryHeads, kvHeads, headDim, tokens } = vector.shape;
  const shape = { numLayers: layers, numQueryHeads: queryHeads, numKvHeads: kvHeads, headDim };
  const keys = vector.tensor("keys").data;
  const queries = vector.tensor("queries");
  const given = queries.shape[2]!;
  const { cache, append, writeKeys } = testCache(shape, { windowSize: given, maxSequences: 1 });
  append(0, tokens);
  for (let layer = 0; layer < layers; layer++) {
    for (let head = 0; head < kvHeads; head++) {
      const at = (layer * kvHeads + head) * tokens * headDim;
      writeKeys(0, layer, head, keys.subarray(at, at + tokens * headDim));
    }
    for (let head = 0; head < queryHeads; head++)
      for (let i = 0; i < given; i++) {
        const from = ((layer * queryHeads + head) * given + i) * headDim;
        const ring = (tokens - given + i) % given;
        const to = ((layer * given + ring) * queryHeads + head) * headDim;
        cache.windowQueries.set(queries.data.subarray(from, from + headDim), to);
      }
  }
  return cache;
}

const vectors: Record<string, Options> = {
  "snap-kv-llama-l2-h4x4-d8-n33-r30": {
    window: 20,
    pooling: { kind: "avg", size: 3 },
    rowReduce: "mean",
    groupReduce: "mean",
    poolFirst: true,
    excludeWindow: true,
  },
  "snap-kv-mistral-l1-h6x3-d8-n64-r90-below-window": {
    window: 16,
    pooling: { kind: "avg", size: 7 },
    rowReduce: "mean",
    groupReduce: "mean",
    poolFirst: true,
    excludeWindow: true,
  },
  "snap-kv-factory-gqa4-sum-avg": {
    window: 8,
    pooling: { kind: "avg", size: 5 },
    rowReduce: "sum",
    groupReduce: "sum",
    excludeWindow: true,
  },
  "ada-kv-gqa2-max-skip1": {
    window: 8,
    pooling: { kind: "max", size: 7 },
    rowReduce: "mean",
    groupReduce: "max",
    excludeWindow: true,
  },
  "kv-compress-metric-slabs": {
    window: 40,
    power: 2,
    buffer: 3,
    pooling: { kind: "max", size: 7 },
    rowReduce: "sum",
    groupReduce: "sum",
    poolFirst: true,
    slab: 16,
  },
  "kv-compress-metric-l1-w16": {
    window: 16,
    buffer: 2,
    pooling: { kind: "max", size: 7 },
    rowReduce: "sum",
    groupReduce: "sum",
    poolFirst: true,
    slab: 4096,
  },
  "kv-compress-metric-w8-pool": {
    window: 8,
    power: 2,
    pooling: { kind: "max", size: 7 },
    rowReduce: "sum",
    groupReduce: "sum",
    poolFirst: true,
    slab: 4096,
  },
  "kv-compress-metric-short-prompt": {
    window: 5,
    power: 2,
    pooling: { kind: "max", size: 7 },
    rowReduce: "sum",
    groupReduce: "sum",
    poolFirst: true,
    slab: 4096,
  },
  "tova-llama-l2-h4x4-d8-n33-r30": {
    window: 1,
    rowReduce: "sum",
    groupReduce: "mean",
    allHeads: true,
  },
  "tova-mistral-l1-h6x3-d8-n5-r90": {
    window: 1,
    rowReduce: "sum",
    groupReduce: "mean",
    allHeads: true,
  },
  "h2o-factory-gqa4-max": { window: 64, rowReduce: "sum", groupReduce: "max" },
};

describe("window score agrees with", () => {
  for (const [name, options] of Object.entries(vectors))
    it(name, () => {
      const vector = readVector(new URL("./__fixtures__/", import.meta.url), name);
      const batch = testBatch(cacheOf(vector), [0]);
      const out = hostTensor(new Float32Array(batch.totalSlots));
      windowScore.reference({ batch, out, ...options });
      const expected = vector.tensor("scores").data;
      const { tokens } = vector.shape;
      let compared = 0;
      for (let i = 0; i < expected.length; i++) {
        if (!Number.isFinite(expected[i]!)) {
          if (options.excludeWindow && i % tokens >= tokens - options.window)
            expect(out.data[i]).toBe(0);
          continue;
        }
        compared++;
        const limit = vector.tolerance.scores! * Math.max(1, Math.abs(expected[i]!));
        expect(Math.abs(out.data[i]! - expected[i]!), `entry ${i}`).toBeLessThanOrEqual(limit);
      }
      expect(compared).toBeGreaterThan(expected.length / 4);
    });
});

describe("window score by brute force", () => {
  const shape = { numLayers: 2, numQueryHeads: 6, numKvHeads: 3, headDim: 4 };
  const windowSize = 12;
  const tokens = 40;
  const random = randomNumbers(5);
  const test = testCache(shape, { windowSize, blockSize: 4 });
  const { cache } = test;
  test.append(1, tokens);
  cache.windowQueries.set(randomFloats(random, cache.windowQueries.length, 1.5));
  for (let layer = 0; layer < 2; layer++)
    for (let head = 0; head < 3; head++) {
      test.writeKeys(1, layer, head, randomFloats(random, tokens * shape.headDim, 1.5));
      const slots = Array.from({ length: tokens }, (_, j) => j).filter(() => random() < 0.6);
      test.keep(
        1,
        layer,
        head,
        slots.sort(() => random() - 0.5),
      );
    }
  const batch = testBatch(cache, [1], { layers: [1], windowLengths: [10] });

  /** position → score for one KV head of layer 1, written from the definition. */
  function expectedScores(kvHead: number, options: Options): Map<number, number> {
    const observed = Math.min(options.window, 10);
    const first = tokens - observed;
    const perHead = (queryHead: number): Map<number, number> => {
      const view = rowView(cache, 1, 1, Math.floor(queryHead / 2));
      const positions = [...gatherPositions(view)];
      const keys = gatherKeys(view);
      const byPosition = [...positions.keys()].sort((a, b) => positions[a]! - positions[b]!);
      const scored = byPosition.filter((j) => !options.excludeWindow || positions[j]! < first);
      const total = new Map<number, number>();
      const slab = options.slab || observed;
      for (let start = 0; start < observed; start += slab) {
        const sums = new Map(scored.map((j) => [positions[j]!, 0]));
        for (let i = start; i < Math.min(start + slab, observed); i++) {
          const p = first + i;
          const query = ((3 * windowSize + (p % windowSize)) * 6 + queryHead) * 4;
          const logit = (j: number) =>
            [0, 1, 2, 3].reduce(
              (dot, c) => dot + cache.windowQueries[query + c]! * keys[j * 4 + c]!,
              0,
            ) * (options.scale ?? 0.5);
          const visible = byPosition.filter((j) => positions[j]! <= p);
          const norm = visible.reduce((sum, j) => sum + Math.exp(logit(j)), 0);
          for (const j of visible) {
            const position = positions[j]!;
            if (!sums.has(position) || p - position < (options.buffer ?? 0)) continue;
            const weight = Math.exp(logit(j)) / norm;
            sums.set(
              position,
              sums.get(position)! + (options.power === 2 ? weight * weight : weight),
            );
          }
        }
        for (const [position, value] of options.poolFirst ? pooled(sums, options) : sums)
          total.set(position, (total.get(position) ?? 0) + value);
      }
      if (options.rowReduce === "mean")
        for (const [position, value] of total) total.set(position, value / observed);
      return total;
    };
    const heads = options.allHeads ? [0, 1, 2, 3, 4, 5] : [2 * kvHead, 2 * kvHead + 1];
    const tables = heads.map(perHead);
    const mine = perHead(2 * kvHead);
    const reduced = new Map(
      [...mine.keys()].map((position) => {
        const values = tables.map((table) => table.get(position) ?? 0);
        const sum = values.reduce((a, b) => a + b, 0);
        if (options.groupReduce === "max") return [position, Math.max(...values)];
        return [position, options.groupReduce === "mean" ? sum / heads.length : sum];
      }),
    );
    return options.poolFirst ? reduced : pooled(reduced, options);
  }

  function pooled(scores: Map<number, number>, { pooling }: Options): Map<number, number> {
    if (!pooling) return scores;
    const reach = (pooling.size - 1) / 2;
    const values = [...scores.values()];
    return new Map(
      [...scores.keys()].map((position, j) => {
        const near = values.slice(Math.max(0, j - reach), j + reach + 1);
        const average = near.reduce((a, b) => a + b, 0) / pooling.size;
        return [position, pooling.kind === "max" ? Math.max(...near) : average];
      }),
    );
  }

  const cases: Options[] = [];
  for (const pooling of [undefined, { kind: "avg", size: 5 }, { kind: "max", size: 3 }] as const)
    for (const groupReduce of ["mean", "max", "sum"] as const)
      for (const flags of [0, 1, 2, 3, 4, 5, 6, 7])
        cases.push({
          window: flags & 1 ? 7 : 12,
          rowReduce: flags & 2 ? "mean" : "sum",
          groupReduce,
          pooling,
          poolFirst: (flags & 1) > 0,
          allHeads: (flags & 2) > 0,
          excludeWindow: (flags & 4) > 0,
          power: flags & 4 ? 2 : 1,
          buffer: flags & 2 ? 4 : 0,
          slab: flags & 1 ? 3 : 0,
          ...(flags === 5 && { scale: 0.3 }),
        });

  it("over unordered, ragged rows in every combination of options", () => {
    for (const options of cases) {
      const out = hostTensor(new Float32Array(batch.totalSlots).fill(Number.NaN));
      windowScore.reference({ batch, out, ...options });
      let at = 0;
      for (let head = 0; head < 3; head++) {
        const expected = expectedScores(head, options);
        for (const position of gatherPositions(rowView(cache, 1, 1, head))) {
          const got = out.data[at++]!;
          const wanted = expected.get(position) ?? 0;
          expect(Math.abs(got - wanted), JSON.stringify({ options, head, position })).toBeLessThan(
            1e-6,
          );
        }
      }
      expect(at).toBe(batch.totalSlots);
    }
  });

  it("hands the native op its numbers in the agreed order", () => {
    const out = hostTensor(new Float32Array(batch.totalSlots));
    const call = windowScore.native!({
      batch,
      out,
      window: 7,
      power: 2,
      buffer: 3,
      pooling: { kind: "max", size: 5 },
      rowReduce: "sum",
      groupReduce: "max",
      poolFirst: true,
      slab: 4,
      excludeWindow: true,
    });
    expect(call.integers).toEqual([batch.totalSlots, 1, 1, 7, 2, 3, 2, 5, 1, 1, 1, 0, 4, 1]);
    expect(call.floats).toEqual([0.5]);
    expect(call.inputs.map(({ dtype, length }) => `${dtype} ${length}`)).toEqual([
      "u32 4",
      "i32 1",
      "i32 1",
      "i32 1",
      "i32 1",
    ]);
  });

  it("refuses a window that was not recorded, and an even pooling", () => {
    const out = hostTensor(new Float32Array(batch.totalSlots));
    const base = { batch, out, rowReduce: "sum", groupReduce: "sum" } as const;
    expect(() => windowScore.reference({ ...base, window: 13 })).toThrowError(/windowSize ≥ 13/);
    expect(() =>
      windowScore.reference({ ...base, window: 4, pooling: { kind: "avg", size: 4 } }),
    ).toThrowError(/odd/);
    expect(() =>
      windowScore.reference({ ...base, window: 4, batch: { ...batch, windowLengths: [0] } }),
    ).toThrowError(/recorded/);
  });
});
