import {
  type BackendSession,
  type DecoderGraph,
  type HostCache,
  KvCacheError,
  type LoadedModel,
  type LoadOptions,
  type StepInput,
  type WeightSource,
} from "@kvcache/core";
import { checkShapes } from "./check-shapes.ts";
import { createRecordingEncoder, type RecordedCall } from "./recording-encoder.ts";
import { compileSegments } from "./segment-program.ts";
import { namedKernels, type SegmentRunner } from "./segment-runner.ts";
import { createSerialQueue } from "./serial-queue.ts";
import { singleAssignment } from "./single-assignment.ts";

/** A cache bound to stock onnxruntime: models in segments, kernels by their references. */
export function createSegmentedSession(
  host: HostCache,
  startRunner: () => Promise<SegmentRunner>,
): BackendSession {
  const queue = createSerialQueue();
  const fallbacks = new Map<string, number>();
  const models = new Set<LoadedModel>();
  let running: Promise<SegmentRunner> | undefined;
  let numModels = 0;
  let disposed = false;
  const runner = () => {
    if (disposed) throw new KvCacheError("disposed", "This backend session was disposed.");
    running ??= startRunner();
    return running;
  };

  async function execute(calls: readonly RecordedCall[]): Promise<void> {
    for (const { kernel, params } of calls) {
      if (namedKernels.get(kernel.name) === kernel && isPlain(params))
        await (await runner()).runKernel(kernel.name, params);
      else kernel.reference(params);
      fallbacks.set(kernel.name, (fallbacks.get(kernel.name) ?? 0) + 1);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  return {
    async load(source: DecoderGraph, weights: WeightSource, options: LoadOptions = {}) {
      const target = await runner();
      checkShapes(source.shape, host.layout.shape);
      const { graph, taps } = singleAssignment(source, options.taps);
      const id = numModels++;
      await target.open(id, graph);
      try {
        for await (const segment of compileSegments(graph, weights, { ...options, taps }))
          await target.add(id, segment);
      } catch (error) {
        await target.close(id);
        throw error;
      }
      let open = true;
      const loaded: LoadedModel = {
        forward: (step: StepInput, wanted?: Map<string, Float32Array>) =>
          queue(async () => {
            const target = await runner();
            if (!open) throw new KvCacheError("disposed", "This model was disposed.");
            const [logits, ...tapped] = await target.forward(id, step, wanted ? taps : []);
            for (const [i, values] of tapped.entries()) wanted?.set(options.taps![i]!, values);
            return logits!;
          }),
        dispose: () =>
          queue(async () => {
            if (open) await (await runner()).close(id);
            open = false;
            models.delete(loaded);
          }),
      };
      models.add(loaded);
      return loaded;
    },
    encoder() {
      void runner();
      return createRecordingEncoder((calls) =>
        queue(async () => {
          await runner();
          await execute(calls);
        }),
      );
    },
    fallbacks: () => new Map(fallbacks),
    async dispose() {
      if (disposed) return;
      await Promise.all([...models].map((model) => model.dispose()));
      await queue(async () => {
        disposed = true;
        await (await running)?.dispose();
      });
    },
  };
}

/** Whether parameters can travel to a worker: data without functions. */
function isPlain(value: unknown): boolean {
  if (typeof value === "function") return false;
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return true;
  return Object.values(value).every(isPlain);
}
