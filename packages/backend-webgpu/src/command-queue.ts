import { KvCacheError, type WgslDispatch } from "@kvcache/core";
import type { Gpu } from "./gpu.ts";
import { type GpuMemory, isGpuMemory, usage } from "./gpu-memory.ts";
import { createPipelineCache, type Pipeline, uniformBytes } from "./pipelines.ts";

/** A dispatch whose pipeline and bind group are found: running it again costs little. */
export interface Command {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  /** Its uniform numbers, as the device reads them. */
  readonly numbers: Uint32Array;
  readonly x: number;
  readonly y: number;
}

/** Commands of a device in the order they are given; they travel in few, large submits. */
export interface CommandQueue {
  /** All bindings must be memory of this device. */
  dispatch(dispatch: WgslDispatch): void;
  /** What `run` needs for a dispatch, while its memory lives; undefined where it has no workgroups. */
  prepare(dispatch: WgslDispatch): Command | undefined;
  run(command: Command): void;
  copy(from: GpuMemory, offset: number, to: GpuMemory, at: number, bytes: number): void;
  /** Writes bytes after everything recorded so far. */
  write(memory: GpuMemory, byteOffset: number, data: ArrayBufferView): void;
  /** Writes memory that nothing recorded so far uses, as it is new: nothing needs a submit for it. */
  fill(memory: GpuMemory, data: ArrayBufferView): void;
  /** Releases memory once the commands recorded so far are submitted. */
  releaseLater(memory: GpuMemory): void;
  /** Submits what was recorded. */
  flush(): void;
  /** Dispatches so far, and pipelines that exist. */
  counts(): { readonly dispatches: number; readonly submits: number; readonly pipelines: number };
}

/** Dispatches between two submits at most. */
const maxPending = 1024;
const maxWorkgroups = 65535;

export function createCommandQueue(gpu: Gpu): CommandQueue {
  const { device } = gpu;
  const pipelines = createPipelineCache(device);
  const groups = new Map<string, GPUBindGroup>();
  const groupsOf = new Map<number, string[]>();
  gpu.onRelease(({ id }) => {
    for (const key of groupsOf.get(id) ?? []) groups.delete(key);
    groupsOf.delete(id);
  });
  const uniforms = device.createBuffer({
    label: "uniforms",
    size: maxPending * uniformBytes,
    usage: usage.uniform | usage.copyDst,
  });
  const numbers = new Uint32Array((maxPending * uniformBytes) / 4);
  let pending = 0;
  let dispatches = 0;
  let submits = 0;
  let commands: GPUCommandEncoder | undefined;
  let pass: GPUComputePassEncoder | undefined;
  const leaving: GpuMemory[] = [];

  const bindGroup = ({ id, layout }: Pipeline, memories: readonly GpuMemory[]): GPUBindGroup => {
    const key = `${id}:${memories.map((memory) => memory.id).join(",")}`;
    const known = groups.get(key);
    if (known) return known;
    const group = device.createBindGroup({
      layout,
      entries: [
        { binding: 0, resource: { buffer: uniforms, size: uniformBytes } },
        ...memories.map(({ buffer }, i) => ({ binding: i + 1, resource: { buffer } })),
      ],
    });
    groups.set(key, group);
    for (const { id: memoryId } of memories) {
      const keys = groupsOf.get(memoryId);
      if (keys) keys.push(key);
      else groupsOf.set(memoryId, [key]);
    }
    return group;
  };

  const endPass = () => {
    pass?.end();
    pass = undefined;
  };

  const flush = () => {
    endPass();
    if (commands) {
      if (pending > 0)
        device.queue.writeBuffer(uniforms, 0, numbers, 0, (pending * uniformBytes) / 4);
      device.queue.submit([commands.finish()]);
      submits++;
    }
    commands = undefined;
    pending = 0;
    for (const memory of leaving.splice(0)) gpu.release(memory);
  };

  const put = (memory: GpuMemory, byteOffset: number, data: ArrayBufferView) => {
    const { buffer, byteOffset: start, byteLength } = data;
    device.queue.writeBuffer(memory.buffer, byteOffset, buffer as ArrayBuffer, start, byteLength);
  };

  const prepare = (dispatch: WgslDispatch): Command | undefined => {
    if (dispatch.workgroups === 0) return undefined;
    const reads = memoriesOf(dispatch, dispatch.reads);
    const writes = memoriesOf(dispatch, dispatch.writes);
    if (writes.some((memory, i) => reads.includes(memory) || writes.indexOf(memory) !== i))
      throw new KvCacheError("internal", `${dispatch.name} binds memory twice that it writes.`);
    const found = pipelines.get(dispatch);
    const x = Math.min(dispatch.workgroups, maxWorkgroups);
    return {
      pipeline: found.pipeline,
      group: bindGroup(found, [...reads, ...writes]),
      numbers: numbersOf(dispatch),
      x,
      y: Math.ceil(dispatch.workgroups / x),
    };
  };

  const run = ({ pipeline, group, numbers: own, x, y }: Command) => {
    if (pending === maxPending) flush();
    numbers.set(own, (pending * uniformBytes) / 4);
    commands ??= device.createCommandEncoder();
    pass ??= commands.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group, [pending * uniformBytes]);
    pass.dispatchWorkgroups(x, y);
    pending++;
    dispatches++;
  };

  return {
    dispatch(dispatch) {
      const command = prepare(dispatch);
      if (command) run(command);
    },
    prepare,
    run,
    copy(from, offset, to, at, bytes) {
      endPass();
      commands ??= device.createCommandEncoder();
      commands.copyBufferToBuffer(from.buffer, offset, to.buffer, at, bytes);
    },
    write(memory, byteOffset, data) {
      if (data.byteLength === 0) return;
      if (commands) flush();
      put(memory, byteOffset, data);
    },
    fill(memory, data) {
      if (data.byteLength > 0) put(memory, 0, data);
    },
    releaseLater(memory) {
      if (commands) leaving.push(memory);
      else gpu.release(memory);
    },
    flush,
    counts: () => ({ dispatches, submits, pipelines: pipelines.size }),
  };
}

function numbersOf({ u32 = {}, i32 = {}, f32 = {} }: WgslDispatch): Uint32Array {
  const whole = [...Object.values(u32), ...Object.values(i32)];
  const floats = Object.values(f32);
  const numbers = new Uint32Array(whole.length + floats.length);
  numbers.set(whole);
  new Float32Array(numbers.buffer).set(floats, whole.length);
  return numbers;
}

function memoriesOf({ name }: WgslDispatch, bindings: WgslDispatch["reads"]): readonly GpuMemory[] {
  return Object.entries(bindings).map(([binding, { buffer }]) => {
    if (!isGpuMemory(buffer))
      throw new KvCacheError("internal", `${name} binds ${binding}, which is not on the device.`);
    return buffer;
  });
}
