import { createReferenceBackend } from "@kvcache/backend-reference";
import { type Backend, cacheLayout } from "@kvcache/core";
import { createPagedCache } from "@kvcache/paged";
import { afterAll, expect, it } from "vitest";
import { smallModel, step } from "./small-model.ts";
import { worst } from "./test-gpu.ts";
import { createWebGpuBackend, type WebGpuBackend } from "./webgpu-backend.ts";

const backends: WebGpuBackend[] = [];
afterAll(async () => {
  for (const backend of backends) await backend.dispose();
});

const shapes = [
  { queryHeads: 4, kvHeads: 1, headDim: 128, dtype: "f16", tokens: 261 },
  { queryHeads: 3, kvHeads: 1, headDim: 20, dtype: "f32", tokens: 70 },
] as const;

it.each(shapes.flatMap((shape) => (["T0", "T1"] as const).map((tier) => ({ ...shape, tier }))))(
  "$queryHeads × $kvHeads heads of $headDim, $dtype, $tokens tokens, $tier",
  async ({ dtype, tokens, tier, ...shape }) => {
    const model = smallModel({ ...shape, layers: 1, hiddenSize: 8 });
    const made = await createWebGpuBackend({ tier }).catch((error) => {
      if (tier === "T0") throw error;
    });
    if (!made) return console.log("skipped: the driver has no subgroups");
    backends.push(made);
    const options = {
      layout: cacheLayout(model.graph.shape, { blockSize: 4, dtype }),
      maxSequences: 2,
      maxTokensPerSequence: tokens + 8,
      memoryBytes: 2 ** 21,
    };
    const run = async (backend: Backend) => {
      const cache = (await backend.createCache?.(options)) ?? createPagedCache(options);
      const session = backend.attach(cache);
      const loaded = await session.load(model.graph, model.weights);
      const [a, b] = [cache.open(), cache.open()];
      const ids = (count: number) => Array.from({ length: count }, (_, i) => (7 * i) % 61);
      const passes = [
        [
          { sequence: a, tokens: ids(tokens) },
          { sequence: b, tokens: ids(3) },
        ],
        [
          { sequence: b, tokens: [5] },
          { sequence: a, tokens: [6] },
        ],
        [{ sequence: a, tokens: ids(2) }],
      ];
      const logits: number[] = [];
      for (const pass of passes) logits.push(...(await loaded.forward(step(cache, pass))));
      await session.dispose();
      return logits;
    };
    const expected = await run(createReferenceBackend());
    // Keys and values rounded to halves may round to neighbours of each other.
    expect(worst(await run(made), expected)).toBeLessThan(dtype === "f32" ? 1e-4 : 2e-3);
  },
);
