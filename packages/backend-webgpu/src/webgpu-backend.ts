import { type Backend, type BackendSession, type CacheManager, KvCacheError } from "@kvcache/core";
import { type AdapterOptions, findAdapter } from "./adapter.ts";
import { createCommandQueue } from "./command-queue.ts";
import { openGpu } from "./gpu.ts";
import { chooseTier, detectTier, type Tier } from "./tier.ts";
import {
  createDeviceCache,
  type DeviceCache,
  type WebGpuCache,
  type WebGpuCacheOptions,
} from "./webgpu-cache.ts";
import { createWebGpuSession } from "./webgpu-session.ts";

export interface WebGpuBackendOptions extends AdapterOptions {
  /** What kernels may use; the best that is built and that the device can run when absent. */
  readonly tier?: Tier;
}

export interface WebGpuCounts {
  /** Buffers on the device now. */
  readonly buffers: number;
  readonly bytes: number;
  readonly dispatches: number;
  readonly submits: number;
  readonly pipelines: number;
}

/** A backend on one GPU, which also makes the caches that it can be attached to. */
export interface WebGpuBackend extends Backend {
  readonly tier: Tier;
  /** A cache on this backend's device. Throws `out-of-memory` where the device refuses it. */
  createCache(options: WebGpuCacheOptions): Promise<WebGpuCache>;
  counts(): WebGpuCounts;
}

/**
 * A backend on WebGPU, in a browser or in Node (with the package `webgpu`). Throws `unsupported`,
 * saying what to install, where there is no WebGPU or no adapter.
 */
export async function createWebGpuBackend(
  options: WebGpuBackendOptions = {},
): Promise<WebGpuBackend> {
  const adapter = await findAdapter(options);
  const tier = chooseTier(adapter.features, options.tier);
  const gpu = await openGpu(adapter, tier);
  const queue = createCommandQueue(gpu);
  const best = detectTier(adapter.features);
  const caches = new Map<CacheManager, DeviceCache>();
  const sessions = new Set<BackendSession>();
  return Object.freeze<WebGpuBackend>({
    name: "webgpu",
    description: `webgpu: ${gpu.name}, kernels ${tier}${best === tier ? "" : ` of ${best}`}, f32 arithmetic`,
    signals: [
      "windowQueries",
      "attentionSums",
      "queryStatistics",
      "chunkQueries",
      "hidden",
      "replay",
      "headOutputs",
      "outputWeight",
    ],
    tier,
    async createCache(cacheOptions) {
      const device = await gpu.allocating(() => createDeviceCache(gpu, queue, cacheOptions));
      caches.set(device.cache, device);
      return device.cache;
    },
    attach(cache) {
      gpu.check();
      const device = caches.get(cache);
      if (!device)
        throw new KvCacheError(
          "unsupported",
          "The WebGPU backend needs a cache on its own device.",
          { remedy: "Make the cache with backend.createCache(options)." },
        );
      const session = createWebGpuSession(device, queue);
      sessions.add(session);
      return session;
    },
    counts: () => ({ ...gpu.usage(), ...queue.counts() }),
    async dispose() {
      for (const session of sessions) await session.dispose();
      sessions.clear();
      gpu.dispose();
    },
  });
}
