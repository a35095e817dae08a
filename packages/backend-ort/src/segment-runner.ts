import {
  assert,
  type DecoderGraph,
  type HostCache,
  type Kernel,
  type StepInput,
} from "@kvcache/core";
import * as kernels from "@kvcache/kernels";
import type { InferenceSession, Tensor } from "onnxruntime-node";
import type { AttentionNode } from "./graph-segments.ts";
import { rethrowOrtError } from "./ort-error.ts";
import type { ProgramSegment } from "./segment-program.ts";
import { type StepArray, stepInputs } from "./step-inputs.ts";
import { createStockAttention } from "./stock-attention.ts";
import { createStockSession, loadStockOrt, stockTensor } from "./stock-ort.ts";

/**
 * Runs segmented models over one cache, in this thread or, behind the same interface, in a worker.
 * Arguments and results are plain data.
 */
export interface SegmentRunner {
  open(model: number, graph: DecoderGraph): Promise<void>;
  /** Appends a segment; its weights are the runner's from here on. */
  add(model: number, segment: ProgramSegment): Promise<void>;
  /** The logits, then the values of `taps`. */
  forward(
    model: number,
    step: StepInput,
    taps: readonly string[],
  ): Promise<readonly Float32Array[]>;
  close(model: number): Promise<void>;
  /** Runs the reference of one of the kernels of @kvcache/kernels, by name. */
  runKernel(name: string, params: unknown): Promise<void>;
  dispose(): Promise<void>;
}

type RunnableSegment =
  | {
      readonly session: InferenceSession;
      readonly segment: Extract<ProgramSegment, { kind: "dense" }>;
    }
  | { readonly node: AttentionNode; readonly segment: ProgramSegment };

/** Kernels that a worker knows too, by name. */
export const namedKernels: ReadonlyMap<string, Kernel<unknown>> = new Map(
  Object.values(kernels)
    .filter((value) => typeof value === "object" && "reference" in value && "name" in value)
    .map((kernel) => [kernel.name, kernel as Kernel<unknown>]),
);

export async function createSegmentRunner(
  host: HostCache,
  threads: number,
): Promise<SegmentRunner> {
  const ort = await loadStockOrt();
  const attention = createStockAttention(ort, threads);
  const models = new Map<number, { graph: DecoderGraph; segments: RunnableSegment[] }>();
  const modelOf = (id: number) => {
    const model = models.get(id);
    assert(model, `The runner has no model ${id}.`);
    return model;
  };

  async function runDense(
    { session, segment }: Extract<RunnableSegment, { session: unknown }>,
    values: Map<string, StepArray>,
  ): Promise<void> {
    const feeds: Record<string, Tensor> = {};
    for (const name of segment.inputs) feeds[name] = stockTensor(ort, values.get(name)!);
    const results = await session.run(feeds).catch(rethrowOrtError);
    for (const name of segment.outputs) {
      const { data, dims } = results[name]!;
      values.set(name, { type: "f32", data: data as Float32Array, dims });
    }
  }

  async function runAttention(
    node: AttentionNode,
    step: StepInput,
    values: Map<string, StepArray>,
  ): Promise<void> {
    const [query, key, value] = [node.query, node.key, node.value].map((name) => values.get(name)!);
    const out = new Float32Array(query!.data.length);
    const layerStep = {
      host,
      step,
      layer: node.layer,
      query: query!.data as Float32Array,
      key: key!.data as Float32Array,
      value: value!.data as Float32Array,
    };
    await attention.run(layerStep, node, out);
    values.set(node.out, { type: "f32", data: out, dims: query!.dims });
  }

  return {
    async open(id, graph) {
      models.set(id, { graph, segments: [] });
    },
    async add(id, segment) {
      const { segments } = modelOf(id);
      if (segment.kind === "attention") segments.push({ node: segment.node, segment });
      else {
        const session = await createStockSession(ort, segment.model, threads);
        // The session has its own copy of the weights.
        segments.push({ session, segment: { ...segment, model: emptyModel } });
      }
    },
    async forward(id, step, taps) {
      const { graph, segments } = modelOf(id);
      const values = new Map(stepInputs(graph, step));
      for (const part of segments) {
        if ("node" in part) await runAttention(part.node, step, values);
        else await runDense(part, values);
        for (const name of part.segment.release) values.delete(name);
      }
      return [graph.output, ...taps].map((name) => values.get(name)!.data as Float32Array);
    },
    async close(id) {
      const { segments } = modelOf(id);
      models.delete(id);
      for (const part of segments) if ("session" in part) await part.session.release();
    },
    async runKernel(name, params) {
      const kernel = namedKernels.get(name);
      assert(kernel, `There is no kernel ${name}.`);
      kernel.reference(params);
    },
    async dispose() {
      await attention.dispose();
    },
  };
}

const emptyModel = { bytes: new Uint8Array(0), external: [] };
