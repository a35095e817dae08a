import { KvCacheError } from "@kvcache/core";

export interface AdapterOptions {
  /** The entry point of WebGPU; `navigator.gpu`, or the package `webgpu` in Node, when absent. */
  readonly gpu?: GPU;
  /** An adapter of the caller's, in place of the default one. */
  readonly adapter?: GPUAdapter;
  readonly powerPreference?: GPUPowerPreference;
  /** Options of the package `webgpu` (Dawn), such as "backend=vulkan" or "adapter=llvmpipe". */
  readonly dawnOptions?: readonly string[];
}

// Named by a variable, so that bundlers for a browser do not follow it.
const nodePackage = "webgpu";

// Dawn crashes when an instance is collected before what it made, so instances stay.
const instances = new Map<string, GPU>();

/** WebGPU of this place. Throws `unsupported` saying what to install or switch on. */
async function findGpu({ gpu, dawnOptions = [] }: AdapterOptions): Promise<GPU> {
  if (gpu) return gpu;
  const found = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
  if (found) return found;
  if (typeof process === "undefined" || !process.versions?.node)
    throw new KvCacheError("unsupported", "This browser has no WebGPU.", {
      remedy: "Use a browser with WebGPU, over https or on localhost.",
    });
  try {
    const dawn: { create(options: readonly string[]): GPU } = await import(nodePackage);
    const key = JSON.stringify(dawnOptions);
    if (!instances.has(key)) instances.set(key, dawn.create(dawnOptions));
    return instances.get(key)!;
  } catch (cause) {
    throw new KvCacheError("unsupported", `WebGPU in Node needs the package webgpu: ${cause}.`, {
      remedy: "Install it: npm i webgpu. On Linux it also needs libvulkan.so.1.",
      cause,
    });
  }
}

/** The adapter to run on. Throws `unsupported` where there is none. */
export async function findAdapter(options: AdapterOptions): Promise<GPUAdapter> {
  if (options.adapter) return options.adapter;
  const gpu = await findGpu(options);
  const { powerPreference } = options;
  const adapter = await gpu
    .requestAdapter(powerPreference ? { powerPreference } : {})
    .catch((cause: unknown) => {
      throw new KvCacheError("unsupported", `WebGPU refused an adapter: ${cause}.`, { cause });
    });
  if (!adapter)
    throw new KvCacheError("unsupported", "WebGPU finds no adapter on this machine.", {
      remedy:
        "Install a GPU driver with Vulkan, Metal or D3D12, or a software one " +
        "(Mesa 25 lavapipe, SwiftShader) and name its file in VK_DRIVER_FILES.",
    });
  return adapter;
}

/** What an adapter calls itself, in a few words. */
export const adapterName = ({ info }: GPUAdapter): string =>
  info.description || [info.vendor, info.architecture].filter(Boolean).join(" ") || "unnamed GPU";
