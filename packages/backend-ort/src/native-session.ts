import {
  type BackendSession,
  type DecoderGraph,
  type HostCache,
  hostTensor,
  type Kernel,
  KvCacheError,
  type LoadedModel,
  type LoadOptions,
  type StepInput,
  type TokenDraws,
  type WeightSource,
} from "@kvcache/core";
import { drawSettings, drawTokens } from "@kvcache/kernels";
import { checkShapes } from "./check-shapes.ts";
import { createGraphCompiler } from "./compile-graph.ts";
import { wholeGraph } from "./graph-segments.ts";
import { type NativeAddon, type NativeTensor, nativeTensor } from "./native-addon.ts";
import { nativeCache } from "./native-cache.ts";
import { createNativeKernels } from "./native-kernels.ts";
import { encodeModel } from "./onnx-model.ts";
import { rethrowOrtError } from "./ort-error.ts";
import { createRecordingEncoder, type RecordedCall } from "./recording-encoder.ts";
import { createSerialQueue } from "./serial-queue.ts";
import { singleAssignment } from "./single-assignment.ts";
import { stepInputs } from "./step-inputs.ts";

/** Milliseconds that kernels may keep the event loop before it gets a turn. */
const patience = 4;

/** A cache bound to the native library: whole graphs as single models, kernels as single nodes. */
export function createNativeSession(
  addon: NativeAddon,
  threads: number,
  host: HostCache,
): BackendSession {
  const handle = addon.registerCache(nativeCache(host));
  const kernels = createNativeKernels(addon, threads, host, handle);
  const queue = createSerialQueue();
  const fallbacks = new Map<string, number>();
  const models = new Set<LoadedModel>();
  let disposed = false;
  const alive = () => {
    if (disposed) throw new KvCacheError("disposed", "This backend session was disposed.");
  };

  async function execute(calls: readonly RecordedCall[]): Promise<void> {
    let yielded = performance.now();
    for (const { kernel, params } of calls) {
      if (kernel.native && (await kernels.run(kernel.name, kernel.native(params)))) continue;
      kernel.reference(params);
      fallbacks.set(kernel.name, (fallbacks.get(kernel.name) ?? 0) + 1);
      if (performance.now() - yielded < patience) continue;
      await new Promise<void>((resolve) => setImmediate(resolve));
      yielded = performance.now();
    }
  }

  return {
    async load(source: DecoderGraph, weights: WeightSource, loadOptions: LoadOptions = {}) {
      alive();
      checkShapes(source.shape, host.layout.shape);
      const { graph, taps } = singleAssignment(source, loadOptions.taps);
      const compiler = createGraphCompiler(graph, weights, "native", loadOptions);
      const model = await compiler.compile(wholeGraph(graph, taps));
      const { bytes, external } = encodeModel(model);
      const options = { threads, spinning: false, customOps: true, external };
      const session = await addon.createSession(bytes, options).catch(rethrowOrtError);
      let open = true;
      /** Logits that stay inside, reused from pass to pass. */
      let inside = new Float32Array(0);

      function pass(step: StepInput, outputs: readonly NativeTensor[]): Promise<void> {
        alive();
        if (!open) throw new KvCacheError("disposed", "This model was disposed.");
        const arrays = stepInputs(graph, step);
        const inputs = model.inputs.map(({ name }) => {
          if (name === "handle") return nativeTensor(BigInt64Array.of(handle), "i64", [1]);
          const { data, type, dims } = arrays.get(name)!;
          return nativeTensor(data, type, dims);
        });
        return addon.runAsync(session, inputs, outputs).catch(rethrowOrtError);
      }

      async function forward(step: StepInput, wanted?: Map<string, Float32Array>) {
        const dims = [step.logitIndices.length, graph.vocabSize];
        const logits = new Float32Array(dims[0]! * dims[1]!);
        const outputs = [nativeTensor(logits, "f32", dims)];
        for (const [i, name] of wanted ? loadOptions.taps!.entries() : []) {
          const width = model.outputs[1 + i]!.dims[1] as number;
          const rows = [step.tokenIds.length, width];
          const values = new Float32Array(rows[0]! * width);
          outputs.push(nativeTensor(values, "f32", rows));
          wanted!.set(name, values);
        }
        await pass(step, outputs);
        return logits;
      }

      async function draw(step: StepInput, draws: TokenDraws): Promise<Int32Array> {
        const dims = [step.logitIndices.length, graph.vocabSize];
        const size = dims[0]! * dims[1]!;
        if (inside.length < size) inside = new Float32Array(size);
        const logits = inside.subarray(0, size);
        await pass(step, [nativeTensor(logits, "f32", dims)]);
        const tokens = new Int32Array(dims[0]!);
        const params = {
          logits: hostTensor(logits),
          settings: hostTensor(drawSettings(draws)),
          tokens: hostTensor(tokens),
        };
        await execute([{ kernel: drawTokens as Kernel<unknown>, params }]);
        return tokens;
      }

      const loaded: LoadedModel = {
        forward: (step, wanted) => queue(() => forward(step, wanted)),
        draw: (step, draws) => queue(() => draw(step, draws)),
        dispose: () =>
          queue(async () => {
            if (open) addon.releaseSession(session);
            open = false;
            models.delete(loaded);
          }),
      };
      models.add(loaded);
      return loaded;
    },
    encoder() {
      alive();
      return createRecordingEncoder((calls) =>
        queue(async () => {
          alive();
          await execute(calls);
        }),
      );
    },
    fallbacks: () => new Map(fallbacks),
    async dispose() {
      await Promise.all([...models].map((model) => model.dispose()));
      await queue(async () => {
        if (disposed) return;
        disposed = true;
        kernels.dispose();
        addon.releaseCache(handle);
      });
    },
  };
}
