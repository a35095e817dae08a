import { cacheLayout } from "@kvcache/core";
import { expect, it } from "vitest";
import { findAdapter } from "./adapter.ts";
import { smallModel, step } from "./small-model.ts";
import { createWebGpuBackend } from "./webgpu-backend.ts";

const { graph, weights } = smallModel();
const options = {
  layout: cacheLayout(graph.shape, { blockSize: 4 }),
  maxSequences: 1,
  maxTokensPerSequence: 32,
  numBlocks: 64,
};

/** An adapter whose device is handed out, so that a test can break it. */
async function openAdapter() {
  const adapter = await findAdapter({});
  const devices: GPUDevice[] = [];
  const spied = new Proxy(adapter, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      if (name !== "requestDevice") return typeof value === "function" ? value.bind(target) : value;
      return async (descriptor: GPUDeviceDescriptor) => {
        const device = await target.requestDevice(descriptor);
        devices.push(device);
        return device;
      };
    },
  });
  return { adapter: spied, devices };
}

it("a device lost in mid-generation is an error, and a new backend works", async () => {
  const { adapter, devices } = await openAdapter();
  const backend = await createWebGpuBackend({ adapter });
  const cache = await backend.createCache(options);
  const model = await backend.attach(cache).load(graph, weights);
  const sequence = cache.open();
  await model.forward(step(cache, [{ sequence, tokens: [1, 2, 3] }]));
  const next = model.forward(step(cache, [{ sequence, tokens: [4] }]));
  devices[0]!.destroy();
  await expect(next).rejects.toMatchObject({ name: "KvCacheError", code: "device-lost" });
  await expect(model.forward(step(cache, [{ sequence, tokens: [5] }]))).rejects.toMatchObject({
    code: "device-lost",
  });
  expect(() => backend.attach(cache)).toThrow(/went away/);
  await backend.dispose();

  const again = await createWebGpuBackend();
  const second = await again.createCache(options);
  const loaded = await again.attach(second).load(graph, weights);
  const logits = await loaded.forward(
    step(second, [{ sequence: second.open(), tokens: [1, 2, 3] }]),
  );
  expect(logits.every(Number.isFinite)).toBe(true);
  await again.dispose();
});

it("an adapter that refuses limits or that is not there", async () => {
  const refusing = new Proxy(await findAdapter({}), {
    get: (target, name) =>
      name === "requestDevice"
        ? async () => {
            throw new TypeError("limit maxBufferSize is too large");
          }
        : Reflect.get(target, name, target),
  });
  await expect(createWebGpuBackend({ adapter: refusing })).rejects.toMatchObject({
    name: "KvCacheError",
    code: "unsupported",
  });
  const gpu = { requestAdapter: async () => null } as unknown as GPU;
  await expect(createWebGpuBackend({ gpu })).rejects.toThrow(/no adapter.*lavapipe/s);
});

it("more memory than the device has, and steps that do not fit", async () => {
  const backend = await createWebGpuBackend();
  await expect(backend.createCache({ ...options, numBlocks: 2 ** 26 })).rejects.toMatchObject({
    code: "out-of-memory",
  });
  const cache = await backend.createCache(options);
  const session = backend.attach(cache);
  const model = await session.load(graph, weights);
  const sequence = cache.open();
  const input = step(cache, [{ sequence, tokens: [1, 61] }]);
  await expect(model.forward(input)).rejects.toMatchObject({ code: "invalid-argument", value: 61 });
  const beyond = { ...input, tokenIds: Int32Array.of(1, 2, 3) };
  await expect(model.forward({ ...beyond, cuTokens: Int32Array.of(0, 3) })).rejects.toThrow(
    /room for 2 tokens/,
  );
  const stopped = AbortSignal.abort();
  await expect(session.load(graph, weights, { signal: stopped })).rejects.toMatchObject({
    code: "aborted",
  });
  await session.dispose();
  await expect(model.forward(input)).rejects.toMatchObject({ code: "disposed" });
  await backend.dispose();
  await expect(backend.createCache(options)).rejects.toMatchObject({ code: "disposed" });
});
