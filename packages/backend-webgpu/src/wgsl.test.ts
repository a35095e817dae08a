import { cacheLayout } from "@kvcache/core";
import { recordCompression } from "@kvcache/engine";
import { expect, it } from "vitest";
import { deviceBatch } from "./device-batch.ts";
import { devicePolicies, modelOf } from "./device-policies.ts";
import { smallModel, step } from "./small-model.ts";
import { createWebGpuBackend } from "./webgpu-backend.ts";

/*
 * Dawn's null backend runs no command, but it compiles WGSL and checks bindings and limits (the
 * default ones: 8 storage buffers, 16 KiB of workgroup memory), and it needs no driver.
 */
const variants = (["T0", "T1"] as const).flatMap((tier) => [
  { tier, dtype: "f32", weightFormat: "f32" } as const,
  { tier, dtype: "f16", weightFormat: "f16" } as const,
  { tier, dtype: "f16", weightFormat: "int8" } as const,
  { tier, dtype: "f32", weightFormat: "int4" } as const,
]);

it.each(variants)(
  "every kernel of a pass is valid at $tier with $dtype memory and $weightFormat weights",
  async ({ tier, dtype, weightFormat }) => {
    const { graph, weights } = smallModel();
    const nodes = graph.nodes.map((node) =>
      node.op === "pagedAttention" && node.layer > 0
        ? { ...node, slidingWindow: 6, ...(node.layer > 1 && { softcap: 5 }) }
        : node.op === "logits"
          ? { ...node, softcap: 30 }
          : node,
    );
    const backend = await createWebGpuBackend({ tier, dawnOptions: ["backend=null"] });
    expect(backend.tier).toBe(tier);
    const cache = await backend.createCache({
      layout: cacheLayout(graph.shape, { blockSize: 4, dtype }),
      maxTokensPerSequence: 64,
      numBlocks: 256,
      windowSize: 4,
    });
    const session = backend.attach(cache);
    const model = await session.load({ ...graph, nodes }, weights, { weightFormat });
    const [a, b] = [cache.open(), cache.open()];
    const tokens = Array.from({ length: 20 }, (_, i) => i);
    for (const shares of [
      [{ sequence: a, tokens, flags: 7 }],
      [
        { sequence: a, tokens: [1], flags: 15 },
        { sequence: b, tokens: [2, 3] },
      ],
      [{ sequence: b, tokens: [4] }],
    ])
      await model.forward(step(cache, shares));
    cache.truncate(cache.fork(a), 3);
    await model.forward(step(cache, [{ sequence: b, tokens: [5] }]));
    await model.choose!(2, () => step(cache, [{ sequence: b, tokens: [6] }]));
    expect(backend.counts().pipelines).toBeGreaterThan(15);
    await backend.dispose();
  },
);

it.each(["f32", "f16"] as const)(
  "every kernel of the policies' events is valid with %s memory",
  async (dtype) => {
    const t = await deviceBatch({ dtype, nothingRuns: true });
    for (const policy of Object.values(devicePolicies)) {
      const encoder = t.session.encoder();
      const { protect } = policy;
      const batch = { ...t.batch, protect, model: modelOf(t.batch) };
      recordCompression(encoder, batch, policy, { ratio: 0.4 });
      await encoder.submit();
    }
    expect(Object.fromEntries(t.session.fallbacks())).toEqual({});
    await t.dispose();
  },
);

// The widest heads fill the 16 KiB of workgroup memory that every device has.
it.each(
  [128, 256].flatMap((headDim) =>
    [1, 4, 8].flatMap((group) => (["T0", "T1"] as const).map((tier) => ({ headDim, group, tier }))),
  ),
)(
  "attention of $group heads of $headDim that share keys fits every device at $tier",
  async ({ headDim, group, tier }) => {
    const model = smallModel({ headDim, queryHeads: group, kvHeads: 1, layers: 1 });
    const nodes = model.graph.nodes.map((node) =>
      node.op === "pagedAttention" ? { ...node, slidingWindow: 6 } : node,
    );
    for (const dtype of ["f32", "f16"] as const) {
      const backend = await createWebGpuBackend({ tier, dawnOptions: ["backend=null"] });
      const cache = await backend.createCache({
        layout: cacheLayout(model.graph.shape, { dtype }),
        maxTokensPerSequence: 32,
        numBlocks: 8,
      });
      const session = backend.attach(cache);
      const loaded = await session.load({ ...model.graph, nodes }, model.weights);
      const sequence = cache.open();
      for (const tokens of [[1, 2, 3], [4]])
        await loaded.forward(step(cache, [{ sequence, tokens }]));
      await backend.dispose();
    }
  },
);
