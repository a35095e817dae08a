import {
  type BackendSession,
  type DecoderGraph,
  KvCacheError,
  type KvShape,
  type LoadedModel,
  type LoadOptions,
  type StepInput,
  type WeightSource,
} from "@kvcache/core";
import type { CommandQueue } from "./command-queue.ts";
import { createDeviceEncoder, type DeviceEncoder } from "./device-encoder.ts";
import { writeStep } from "./device-step.ts";
import { loadDeviceWeights } from "./device-weights.ts";
import { dispatchesOf, type Pass, type Value } from "./record-node.ts";
import { createScratch } from "./scratch.ts";
import { planValues, type ValueSlot } from "./value-slots.ts";
import type { DeviceCache } from "./webgpu-cache.ts";

/** A session over a cache of the same device. */
export function createWebGpuSession(device: DeviceCache, queue: CommandQueue): BackendSession {
  const { gpu } = device;
  const fallbacks = new Map<string, number>();
  const models = new Set<LoadedModel>();
  let encoders: DeviceEncoder[] = [];
  let disposed = false;
  // One writer at a time: models of a session share its cache.
  let running = false;
  const checkAlive = (what: string, alive: boolean) => {
    gpu.check();
    if (!alive) throw new KvCacheError("disposed", `This ${what} was disposed.`);
  };
  const releaseEncoders = () => {
    for (const encoder of encoders.splice(0)) encoder.release();
  };

  async function load(
    graph: DecoderGraph,
    source: WeightSource,
    options: LoadOptions = {},
  ): Promise<LoadedModel> {
    checkAlive("session", !disposed);
    const { taps = [] } = options;
    checkShapes(graph.shape, device.host.layout.shape);
    checkTaps(graph, taps);
    const plan = planValues(graph, taps);
    const weights = await gpu.allocating(() =>
      loadDeviceWeights(gpu, queue, graph, source, options),
    );
    const scratch = createScratch(gpu, queue);
    let unloaded = false;

    const pass = async (input: StepInput, wanted: readonly string[]) => {
      releaseEncoders();
      device.tables.sync(input.sequences);
      const step = writeStep(graph, device.host, input, scratch, queue);
      const { maxBindingBytes: maxBytes } = gpu;
      const shared: Pass = { graph, weights, device, step, scratch, maxBytes };
      const place = (slot: ValueSlot): Value => {
        const numRows = slot.gathered ? step.numLogits : step.numTokens;
        const words = plan.slotWidths[slot.slot]! * numRows;
        return { ...slot, memory: scratch.get(`values ${slot.slot}`, "f32", words), numRows };
      };
      graph.nodes.forEach((node, index) => {
        const { out, inputs } = plan.nodes[index]!;
        const values = inputs.map(place);
        for (const dispatch of dispatchesOf(node, shared, place(out), values))
          queue.dispatch(dispatch);
      });
      queue.flush();
      const parts = wanted.map((name) => {
        const { memory, numRows, width } = place(plan.final.get(name)!);
        return { memory, offset: 0, bytes: numRows * width * 4 };
      });
      const bytes = await gpu.read(parts);
      let at = 0;
      return parts.map((part) => {
        const values = new Float32Array(bytes.buffer as ArrayBuffer, at, part.bytes / 4);
        at += part.bytes;
        return values;
      });
    };

    const model: LoadedModel = {
      async forward(step, tapped) {
        checkAlive("session", !disposed);
        checkAlive("model", !unloaded);
        if (running)
          throw new KvCacheError("invalid-argument", "A forward pass is running already.", {
            remedy: "Await one forward pass before starting the next.",
          });
        running = true;
        try {
          const named = tapped ? taps : [];
          const results = await gpu.allocating(() => pass(step, [graph.output, ...named]));
          named.forEach((name, i) => {
            tapped!.set(name, results[i + 1]!);
          });
          return results[0]!;
        } finally {
          running = false;
        }
      },
      async dispose() {
        if (unloaded) return;
        unloaded = true;
        models.delete(model);
        queue.flush();
        weights.release();
        scratch.release();
      },
    };
    models.add(model);
    return model;
  }

  return {
    load,
    encoder() {
      checkAlive("session", !disposed);
      const encoder = createDeviceEncoder(device, queue, (name) =>
        fallbacks.set(name, (fallbacks.get(name) ?? 0) + 1),
      );
      encoders.push(encoder);
      return encoder;
    },
    fallbacks: () => new Map(fallbacks),
    async dispose() {
      if (disposed) return;
      disposed = true;
      releaseEncoders();
      encoders = [];
      for (const model of models) await model.dispose();
    },
  };
}

function checkShapes(model: KvShape, cache: KvShape): void {
  for (const key of ["numLayers", "numQueryHeads", "numKvHeads", "headDim"] as const)
    if (model[key] !== cache[key])
      throw new KvCacheError(
        "invalid-argument",
        `The model has ${key} ${model[key]}, the cache ${cache[key]}.`,
        { value: cache[key], remedy: "Create the cache with the shape of the model." },
      );
}

function checkTaps({ nodes }: DecoderGraph, taps: readonly string[]): void {
  for (const name of taps)
    if (!nodes.some(({ out }) => out === name))
      throw new KvCacheError("invalid-argument", `The graph has no value ${name} to tap.`, {
        value: name,
      });
}
