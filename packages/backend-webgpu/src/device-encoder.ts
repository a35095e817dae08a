import {
  type Encoder,
  hostTensor,
  type Kernel,
  KvCacheError,
  type Tensor,
  type TensorArray,
  type TensorDtype,
} from "@kvcache/core";
import type { CommandQueue } from "./command-queue.ts";
import { DeviceTensor, hostContents } from "./device-tensor.ts";
import { findParams, toHost } from "./host-params.ts";
import type { DeviceCache } from "./webgpu-cache.ts";
import { createWgslRecorder } from "./wgsl-recorder.ts";

export interface DeviceEncoder extends Encoder {
  /** Gives the memory of all its tensors back. */
  release(): void;
}

interface Call {
  readonly kernel: Kernel<unknown>;
  readonly params: unknown;
}

/**
 * An encoder that records and runs everything at `submit`, in order: kernels with WGSL on the
 * device; others through their reference, with what they look at read back before and what they
 * changed sent back after. `onFallback` is told the name of each of those.
 */
export function createDeviceEncoder(
  device: DeviceCache,
  queue: CommandQueue,
  onFallback: (name: string) => void,
): DeviceEncoder {
  const { gpu, view, hostBatch } = device;
  const tensors = new Set<DeviceTensor>();
  const own = (tensor: DeviceTensor) => {
    tensors.add(tensor);
    return tensor;
  };
  const recorder = createWgslRecorder(device, queue, own);
  let calls: Call[] = [];

  const readBack = async (wanted: Iterable<DeviceTensor>) => {
    const stale = [...wanted].filter((tensor) => tensor.stale);
    if (stale.length === 0) return;
    queue.flush();
    const parts = stale.map((tensor) => ({
      memory: tensor.stale!,
      offset: 0,
      bytes: tensor.length * 4,
    }));
    const bytes = await gpu.read(parts);
    let at = 0;
    for (const [i, { bytes: count }] of parts.entries()) {
      stale[i]!.arrived(bytes.slice(at, at + count));
      at += count;
    }
  };

  const fallBack = async ({ kernel, params }: Call) => {
    const found = findParams(params, (value) => hostBatch(value) !== undefined);
    await readBack(found.tensors);
    const sequences = new Set([...found.batches].flatMap((batch) => batch.sequences));
    if (sequences.size > 0) await view.download([...sequences]);
    kernel.reference(toHost(params, hostBatch));
    if (sequences.size > 0) view.uploadChanges();
    onFallback(kernel.name);
  };

  const submit = async () => {
    const recorded = calls;
    calls = [];
    for (const call of recorded) {
      const { wgsl } = call.kernel;
      if (wgsl && (wgsl.supports?.(call.params) ?? true)) wgsl.record(call.params, recorder);
      else await fallBack(call);
    }
    queue.flush();
    gpu.check();
  };

  return {
    tensor(dtype: TensorDtype, length: number): Tensor {
      if (!Number.isSafeInteger(length) || length < 0)
        throw new KvCacheError(
          "invalid-argument",
          `A tensor's length must be a non-negative integer, got ${length}.`,
          { value: length },
        );
      return own(new DeviceTensor(dtype, length));
    },
    upload: (data: TensorArray) => hostTensor(data),
    run<P>(kernel: Kernel<P>, params: P) {
      calls.push({ kernel: kernel as Kernel<unknown>, params });
    },
    submit,
    async read(tensor) {
      await submit();
      if (!(tensor instanceof DeviceTensor)) {
        const contents = hostContents(tensor);
        if (contents) return contents.slice();
        throw new KvCacheError("invalid-argument", "This tensor is not of this encoder.");
      }
      await readBack([tensor]);
      return tensor.onHost(false).slice();
    },
    release() {
      for (const tensor of tensors) tensor.release(queue);
      tensors.clear();
    },
  };
}
