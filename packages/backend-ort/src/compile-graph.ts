import {
  type DecoderGraph,
  type GraphNode,
  KvCacheError,
  type LoadOptions,
  type WeightSource,
} from "@kvcache/core";
import { emitLinears, groupLinears } from "./emit-linear.ts";
import {
  type Dialect,
  type EmitContext,
  emitAdd,
  emitAttention,
  emitEmbed,
  emitGated,
  emitLogits,
  emitNorm,
  emitRope,
  normWeight,
  widthOf,
} from "./emit-node.ts";
import type { DenseSegment } from "./graph-segments.ts";
import { createModelBuilder, type ModelBuilder } from "./model-builder.ts";
import type { OnnxModel } from "./onnx-model.ts";

/** Turns segments of one graph into ONNX models, in order. */
export interface GraphCompiler {
  compile(segment: DenseSegment): Promise<OnnxModel>;
  /** Tells the compiler of a node that belongs to no model. */
  skip(node: GraphNode): void;
}

/**
 * The graph must be one of single assignments. Inputs of the models are those of the step (see `stepInputs`) and values of earlier segments,
 * f32 [rows, width]. Weights are converted while compiling, with the event loop kept free.
 */
export function createGraphCompiler(
  graph: DecoderGraph,
  weights: WeightSource,
  dialect: Dialect,
  { weightFormat = "f32", onProgress, signal }: LoadOptions,
): GraphCompiler {
  const context: EmitContext = {
    graph,
    dialect,
    weights,
    format: weightFormat,
    widths: new Map(),
    async breathe() {
      await new Promise<void>((resolve) => setImmediate(resolve));
      if (signal?.aborted)
        throw new KvCacheError("aborted", "Loading was aborted.", { cause: signal.reason });
    },
  };
  let done = 0;

  return {
    skip(node) {
      context.widths.set(node.out, widthOf(node, context));
      onProgress?.(++done, graph.nodes.length);
    },
    async compile(segment) {
      const builder = createModelBuilder();
      for (const name of segment.inputs)
        builder.input(name, "f32", [`rows of ${name}`, context.widths.get(name)!]);
      const linears = groupLinears(segment.nodes);
      const emitted = new Set<GraphNode>();
      for (const node of segment.nodes) {
        context.widths.set(node.out, widthOf(node, context));
        if (!emitted.has(node)) {
          if (node.op === "add") {
            const norm = normOfSum(segment, node.out, builder, context);
            emitAdd(builder, node, norm, context);
            if (norm) emitted.add(norm);
          } else if (node.op === "linear") {
            const group = linears.get(node);
            if (group) await emitLinears(builder, group, context);
          } else await emitNode(builder, node, context);
        }
        await context.breathe();
        onProgress?.(++done, graph.nodes.length);
      }
      return builder.build(
        segment.outputs.map((name) => ({
          name,
          type: "f32",
          dims: [`rows of ${name}`, context.widths.get(name)!],
        })),
      );
    },
  };
}

/** The first norm over the whole width of a sum: one op computes both. */
function normOfSum(
  segment: DenseSegment,
  sum: string,
  builder: ModelBuilder,
  context: EmitContext,
): Extract<GraphNode, { op: "rmsNorm" }> | undefined {
  const norm = segment.nodes.find((node) => node.op === "rmsNorm" && node.input === sum);
  if (norm?.op !== "rmsNorm") return undefined;
  return normWeight(builder, norm, context).length === context.widths.get(sum) ? norm : undefined;
}

function emitNode(
  builder: ModelBuilder,
  node: Exclude<GraphNode, { op: "add" | "linear" }>,
  context: EmitContext,
): void | Promise<void> {
  switch (node.op) {
    case "embed":
      return emitEmbed(builder, node, context);
    case "rmsNorm":
      return emitNorm(builder, node, context);
    case "rope":
      return emitRope(builder, node, context);
    case "pagedAttention":
      return emitAttention(builder, node, context);
    case "gatedActivation":
      return emitGated(builder, node);
    case "gather": {
      const indices = builder.input("logitIndices", "i32", ["numLogits"]);
      return builder.node("Gather", [node.input, indices], [node.out]);
    }
    case "logits":
      return emitLogits(builder, node);
  }
}
