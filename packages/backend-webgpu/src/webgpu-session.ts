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
import { likeliestPartWords, likeliestWgsl } from "@kvcache/kernels";
import type { Command, CommandQueue } from "./command-queue.ts";
import { createDeviceEncoder, type DeviceEncoder } from "./device-encoder.ts";
import { writeStep } from "./device-step.ts";
import { loadDeviceWeights } from "./device-weights.ts";
import type { GpuMemory } from "./gpu-memory.ts";
import { dispatchesOf, type Pass, type Value } from "./record-node.ts";
import { createScratch } from "./scratch.ts";
import { createStepPlans } from "./step-plans.ts";
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
    const { maxBindingBytes: maxBytes } = gpu;
    const { numQueryHeads, headDim } = graph.shape;
    const plans = createStepPlans(scratch, maxBytes, numQueryHeads * headDim * 4);
    let unloaded = false;

    /** Records a pass; `tokens`, where given, take the place of its token ids. */
    const record = (input: StepInput, tokens?: { memory: GpuMemory; at: number }) => {
      releaseEncoders();
      const step = writeStep(graph, device.host, input, scratch, queue);
      device.tables.sync(input.sequences);
      if (tokens) {
        const bytes = step.numTokens * 4;
        const { tokenIds } = step.sections;
        queue.copy(tokens.memory, tokens.at * 4, step.memory, tokenIds * 4, bytes);
      }
      const place = (slot: ValueSlot): Value => {
        const numRows = slot.gathered ? step.numLogits : step.numTokens;
        const words = plan.slotWidths[slot.slot]! * numRows;
        return { ...slot, memory: scratch.get(`values ${slot.slot}`, "f32", words), numRows };
      };
      const prepare = (): Command[] => {
        const shared: Pass = { graph, weights, device, step, scratch, maxBytes };
        return graph.nodes.flatMap((node, index) => {
          const { out, inputs } = plan.nodes[index]!;
          const dispatches = dispatchesOf(node, shared, place(out), inputs.map(place));
          return dispatches.flatMap((dispatch) => queue.prepare(dispatch) ?? []);
        });
      };
      for (const command of plans.of(step, prepare)) queue.run(command);
      return (name: string) => place(plan.final.get(name)!);
    };

    const pass = async (input: StepInput, wanted: readonly string[]) => {
      const valueNamed = record(input);
      queue.flush();
      const parts = wanted.map((name) => {
        const { memory, numRows, width } = valueNamed(name);
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

    const choose = async (numSteps: number, stepAt: (index: number) => StepInput) => {
      let numRows = 0;
      let chosen: GpuMemory | undefined;
      for (let i = 0; i < numSteps; i++) {
        const input = stepAt(i);
        if (i > 0) checkNextStep(input, numRows);
        else numRows = input.logitIndices.length;
        chosen ??= scratch.get("chosen tokens", "i32", numSteps * numRows);
        const before = i > 0 ? { memory: chosen, at: (i - 1) * numRows } : undefined;
        const { memory, width } = record(input, before)(graph.output);
        const parts = scratch.get("likeliest", "u32", likeliestPartWords(numRows, width));
        const outAt = i * numRows;
        const likeliest = { input: memory, parts, out: chosen, outAt, numRows, width };
        for (const dispatch of likeliestWgsl(likeliest)) queue.dispatch(dispatch);
      }
      queue.flush();
      if (!chosen) return new Int32Array(0);
      const bytes = await gpu.read([{ memory: chosen, offset: 0, bytes: numSteps * numRows * 4 }]);
      return new Int32Array(bytes.buffer as ArrayBuffer, 0, numSteps * numRows);
    };

    /** One writer at a time. */
    const exclusively = async <T>(work: () => Promise<T>): Promise<T> => {
      checkAlive("session", !disposed);
      checkAlive("model", !unloaded);
      if (running)
        throw new KvCacheError("invalid-argument", "A forward pass is running already.", {
          remedy: "Await one forward pass before starting the next.",
        });
      running = true;
      try {
        return await gpu.allocating(work);
      } finally {
        running = false;
      }
    };

    const model: LoadedModel = {
      async forward(step, tapped) {
        const named = tapped ? taps : [];
        const results = await exclusively(() => pass(step, [graph.output, ...named]));
        named.forEach((name, i) => {
          tapped!.set(name, results[i + 1]!);
        });
        return results[0]!;
      },
      choose: (numSteps, stepAt) => exclusively(() => choose(numSteps, stepAt)),
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

/** Tokens chosen in one step are fed to the next, in the same order. */
function checkNextStep({ tokenIds, sequences, logitIndices }: StepInput, numRows: number): void {
  const inOrder = logitIndices.every((token, i) => token === i);
  if (inOrder && [tokenIds, sequences, logitIndices].every(({ length }) => length === numRows))
    return;
  throw new KvCacheError("invalid-argument", "A step without token ids feeds each sequence one.", {
    value: { numTokens: tokenIds.length, numChosen: numRows },
    remedy: "Let every sequence of the first step choose a token, and keep their order.",
  });
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
