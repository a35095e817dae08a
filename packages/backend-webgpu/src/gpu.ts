import { KvCacheError, type TensorDtype } from "@kvcache/core";
import { adapterName } from "./adapter.ts";
import { type GpuMemory, mapRead, usage } from "./gpu-memory.ts";
import { type Tier, tierFeatures } from "./tier.ts";

/** A device with counted memory, whose failures surface as errors of ours. */
export interface Gpu {
  readonly name: string;
  /** What its kernels may use. */
  readonly tier: Tier;
  readonly device: GPUDevice;
  /** Largest buffer that one binding can show, in bytes. */
  readonly maxBindingBytes: number;
  /** Zeroed memory for `words` numbers. Throws `out-of-memory` above the device's limits. */
  allocate(label: string, dtype: TensorDtype, words: number): GpuMemory;
  /** Destroys memory; pending commands must not use it. */
  release(memory: GpuMemory): void;
  /** Told of every memory that is released. */
  onRelease(listener: (memory: GpuMemory) => void): void;
  /** Memory that exists now: what a leak shows up in. */
  usage(): { readonly buffers: number; readonly bytes: number };
  /** Runs `fill` and waits for what it allocated. Throws `out-of-memory` where the device had none. */
  allocating<T>(fill: () => T | Promise<T>): Promise<T>;
  /** Bytes [offset, offset + bytes) after all that was submitted. */
  read(parts: readonly ReadPart[]): Promise<Uint8Array>;
  /** Throws `disposed`, `device-lost`, or what went wrong on the device since the last check. */
  check(): void;
  dispose(): void;
}

export interface ReadPart {
  readonly memory: GpuMemory;
  readonly offset: number;
  readonly bytes: number;
}

/** Larger memory for readbacks is given back at once. */
const mostIdleBytes = 2 ** 24;
const rounded = (bytes: number) => Math.max(16, Math.ceil(bytes / 16) * 16);

/** Opens a device on an adapter with the adapter's own limits. */
export async function openGpu(adapter: GPUAdapter, tier: Tier): Promise<Gpu> {
  const { limits } = adapter;
  const device = await adapter
    .requestDevice({
      requiredFeatures: tierFeatures(tier) as GPUFeatureName[],
      requiredLimits: {
        maxBufferSize: limits.maxBufferSize,
        maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      },
    })
    .catch((cause: unknown) => {
      throw new KvCacheError("unsupported", `The adapter refused a device: ${cause}.`, { cause });
    });
  return guard(device, adapterName(adapter), tier);
}

function guard(device: GPUDevice, name: string, tier: Tier): Gpu {
  const maxBindingBytes = Math.min(
    device.limits.maxStorageBufferBindingSize,
    device.limits.maxBufferSize,
  );
  const listeners: ((memory: GpuMemory) => void)[] = [];
  const live = new Set<GpuMemory>();
  let bytesLive = 0;
  let nextId = 0;
  let disposed = false;
  /** Memory that readbacks pass through, kept between them: making it takes longer than to fill it. */
  let idleStaging: GPUBuffer | undefined;
  let failure: KvCacheError | undefined;
  device.lost.then(({ message, reason }) => {
    if (disposed) return;
    failure = new KvCacheError("device-lost", `The GPU went away (${reason}): ${message}`, {
      remedy: "Create the backend again.",
    });
  });
  device.addEventListener("uncapturederror", (event) => {
    const { error } = event as GPUUncapturedErrorEvent;
    failure ??= errorOf(error);
  });

  const check = () => {
    if (disposed) throw new KvCacheError("disposed", "This backend was disposed.");
    const found = failure;
    // A lost device stays lost; any other failure is told once.
    if (found && found.code !== "device-lost") failure = undefined;
    if (found) throw found;
  };

  const release = (memory: GpuMemory) => {
    if (!live.delete(memory)) return;
    bytesLive -= memory.bytes;
    for (const listener of listeners) listener(memory);
    memory.buffer.destroy();
  };

  const takeStaging = (bytes: number): GPUBuffer => {
    const idle = idleStaging;
    idleStaging = undefined;
    if (idle && idle.size >= bytes) return idle;
    idle?.destroy();
    return device.createBuffer({
      label: "readback",
      size: bytes,
      usage: usage.mapRead | usage.copyDst,
    });
  };
  const giveStaging = (staging: GPUBuffer) => {
    staging.unmap();
    const keeps = !disposed && staging.size <= mostIdleBytes && idleStaging === undefined;
    if (keeps) idleStaging = staging;
    else staging.destroy();
  };

  return {
    name,
    tier,
    device,
    maxBindingBytes,
    allocate(label, dtype, words) {
      const bytes = rounded(words * 4);
      if (bytes > maxBindingBytes)
        throw new KvCacheError(
          "out-of-memory",
          `${label} takes ${bytes} bytes, one buffer of this device holds ${maxBindingBytes}.`,
          { value: bytes, remedy: "Give the cache or the step fewer tokens." },
        );
      const buffer = device.createBuffer({
        label,
        size: bytes,
        usage: usage.storage | usage.copySrc | usage.copyDst,
      });
      const memory: GpuMemory = { id: nextId++, buffer, dtype, length: words, bytes };
      live.add(memory);
      bytesLive += bytes;
      return memory;
    },
    release,
    onRelease: (listener) => listeners.push(listener),
    usage: () => ({ buffers: live.size, bytes: bytesLive }),
    async allocating(fill) {
      check();
      device.pushErrorScope("out-of-memory");
      let result: Awaited<ReturnType<typeof fill>>;
      try {
        result = await fill();
      } finally {
        const error = await device.popErrorScope().catch(() => null);
        if (error) failure ??= errorOf(error);
      }
      check();
      return result;
    },
    async read(parts) {
      check();
      const total = parts.reduce((sum, { bytes }) => sum + bytes, 0);
      if (total === 0) return new Uint8Array(0);
      const staging = takeStaging(rounded(total));
      try {
        const commands = device.createCommandEncoder();
        let at = 0;
        for (const { memory, offset, bytes } of parts) {
          commands.copyBufferToBuffer(memory.buffer, offset, staging, at, bytes);
          at += bytes;
        }
        device.queue.submit([commands.finish()]);
        await staging.mapAsync(mapRead).catch(async (cause: unknown) => {
          // The reason of a loss arrives a turn after the promises that it breaks.
          await new Promise((resolve) => setTimeout(resolve, 0));
          check();
          throw new KvCacheError("device-lost", `The GPU gave no result: ${cause}`, {
            remedy: "Create the backend again.",
            cause,
          });
        });
        check();
        const bytes = new Uint8Array(staging.getMappedRange(0, rounded(total)).slice(0, total));
        giveStaging(staging);
        return bytes;
      } catch (error) {
        staging.destroy();
        throw error;
      }
    },
    check,
    dispose() {
      disposed = true;
      for (const memory of live) release(memory);
      idleStaging?.destroy();
      device.destroy();
    },
  };
}

function errorOf(error: GPUError): KvCacheError {
  return error.constructor.name === "GPUOutOfMemoryError"
    ? new KvCacheError("out-of-memory", `The GPU has no memory left: ${error.message}`, {
        remedy: "Give the cache less memory, or use a smaller model or weight format.",
        cause: error,
      })
    : new KvCacheError("internal", `The GPU refused a command: ${error.message}`, { cause: error });
}
