import {
  type DecoderGraph,
  type GraphNode,
  KvCacheError,
  type ModelView,
  type RopeParameters,
  type WeightRef,
  type WeightSource,
  weightFloats,
} from "@kvcache/core";
import type { ObservedPart } from "./observation.ts";

/** Where a layer's attention block has what observers look at. */
export interface AttentionBlock {
  /** Values of the graph. */
  readonly values: Readonly<Record<ObservedPart, string>>;
  /** The block adds this times `attentionOutput` to the residual stream. */
  readonly outputScale: number;
  readonly rope: RopeParameters | undefined;
  /** W_O. */
  readonly outputWeight: WeightRef;
}

/**
 * Finds the parts of a layer's attention block by walking the graph from its attention node. Throws
 * `unsupported` where the graph has another form: norm, projections, attention, projection, sum.
 */
export function attentionBlock(graph: DecoderGraph, layer: number): AttentionBlock {
  const unknown = (what: string): never => {
    throw new KvCacheError("unsupported", `Layer ${layer} of this graph has no ${what}.`, {
      value: layer,
      remedy: "Use a policy that observes nothing of the model.",
    });
  };
  const writer = (name: string): GraphNode =>
    graph.nodes.find(({ out }) => out === name) ?? unknown(`value ${name}`);
  const reader = (name: string, op: "linear" | "add" | "rmsNorm") =>
    graph.nodes.find((node) =>
      node.op === op ? (node.op === "add" ? node.b === name : node.input === name) : false,
    );

  const attention = graph.nodes.find(
    (node) => node.op === "pagedAttention" && node.layer === layer,
  );
  if (attention?.op !== "pagedAttention") return unknown("attention");
  const rotation = writer(attention.query);
  const queriesPreRope = rotation.op === "rope" ? rotation.input : attention.query;
  let projection = writer(queriesPreRope);
  // A norm over the values of each head.
  if (projection.op === "rmsNorm") projection = writer(projection.input);
  if (projection.op !== "linear") return unknown("projection of queries");

  const output = reader(attention.out, "linear");
  if (output?.op !== "linear") return unknown("output projection");
  const norm = reader(output.out, "rmsNorm");
  const added = norm?.out ?? output.out;
  const sum = reader(added, "add");
  if (sum?.op !== "add") return unknown("residual sum after attention");
  return {
    values: {
      queries: attention.query,
      queriesPreRope,
      hidden: projection.input,
      headOutputs: attention.out,
      residual: sum.a,
      attentionOutput: added,
    },
    outputScale: sum.scale,
    rope: rotation.op === "rope" ? graph.ropes[rotation.table] : undefined,
    outputWeight: output.weight,
  };
}

/** Whether every layer's output projection can be found. */
export function hasOutputWeights(graph: DecoderGraph): boolean {
  try {
    for (let layer = 0; layer < graph.shape.numLayers; layer++) attentionBlock(graph, layer);
    return true;
  } catch (error) {
    if (error instanceof KvCacheError && error.code === "unsupported") return false;
    throw error;
  }
}

/** What policies may know of a model; nothing is looked up before somebody asks. */
export function createModelView(graph: DecoderGraph, weights: WeightSource): ModelView {
  const lazily = <T>(make: (layer: number) => T) => {
    const made = new Map<number, T>();
    return (layer: number): T => {
      if (!made.has(layer)) made.set(layer, make(layer));
      return made.get(layer) as T;
    };
  };
  const block = lazily((layer) => attentionBlock(graph, layer));
  return Object.freeze({
    hiddenSize: graph.hiddenSize,
    rope: (layer: number) => block(layer).rope,
    outputWeight: lazily((layer) => {
      const ref = block(layer).outputWeight;
      return weightFloats(weights.get(ref.name), ref);
    }),
  });
}
