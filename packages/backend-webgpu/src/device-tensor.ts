import {
  hostArray,
  KvCacheError,
  type Tensor,
  type TensorArray,
  type TensorDtype,
} from "@kvcache/core";
import type { CommandQueue } from "./command-queue.ts";
import type { Gpu } from "./gpu.ts";
import type { GpuMemory } from "./gpu-memory.ts";

const arrayOf = { f32: Float32Array, u32: Uint32Array, i32: Int32Array } as const;

/**
 * A tensor of a device's encoder. It has up to two copies, on the device and on the host, of which
 * the last one written counts; each is made when somebody wants to see it there.
 */
export class DeviceTensor implements Tensor {
  readonly dtype: TensorDtype;
  readonly length: number;
  #memory: GpuMemory | undefined;
  #array: TensorArray | undefined;
  /** Where the contents are; a new tensor is zero everywhere. */
  #newest: "device" | "host" | "both" = "both";
  #released = false;

  constructor(dtype: TensorDtype, length: number) {
    this.dtype = dtype;
    this.length = length;
  }

  /** Its memory on the device, up to date; `written` says that a dispatch will change it. */
  onDevice(gpu: Gpu, queue: CommandQueue, written: boolean): GpuMemory {
    this.#checkAlive();
    const isNew = this.#memory === undefined;
    this.#memory ??= gpu.allocate("tensor", this.dtype, this.length);
    if (this.#newest === "host") {
      if (isNew) queue.fill(this.#memory, this.#array!);
      else queue.write(this.#memory, 0, this.#array!);
      this.#newest = "both";
    }
    if (written) this.#newest = "device";
    return this.#memory;
  }

  /** Its memory, where it must be read back before the host may see it. */
  get stale(): GpuMemory | undefined {
    return this.#newest === "device" ? this.#memory : undefined;
  }

  /** Takes what was read back. */
  arrived(bytes: Uint8Array): void {
    this.#array = new arrayOf[this.dtype](
      bytes.buffer as ArrayBuffer,
      bytes.byteOffset,
      this.length,
    );
    this.#newest = "both";
  }

  /** Its array on the host; `written` says that the host may change it. */
  onHost(written: boolean): TensorArray {
    this.#checkAlive();
    if (this.#newest === "device") throw new KvCacheError("internal", "A tensor is not read back.");
    this.#array ??= new arrayOf[this.dtype](this.length);
    if (written) this.#newest = "host";
    return this.#array;
  }

  release(queue: CommandQueue): void {
    this.#released = true;
    if (this.#memory) queue.releaseLater(this.#memory);
    this.#memory = undefined;
    this.#array = undefined;
  }

  #checkAlive(): void {
    if (this.#released)
      throw new KvCacheError("disposed", "This tensor's time is over.", {
        remedy: "Read tensors of an encoder before the session's next forward pass.",
      });
  }
}

/** Contents of a tensor that lives on the host, or undefined. */
export function hostContents(tensor: Tensor): TensorArray | undefined {
  return "data" in tensor ? hostArray(tensor, tensor.dtype) : undefined;
}
