export type { AdapterOptions } from "./adapter.ts";
export { detectTier, type Tier, tiers } from "./tier.ts";
export {
  createWebGpuBackend,
  type WebGpuBackend,
  type WebGpuBackendOptions,
  type WebGpuCounts,
} from "./webgpu-backend.ts";
export type { WebGpuCache, WebGpuCacheOptions } from "./webgpu-cache.ts";
