import type { DecoderGraph, LoadOptions, WeightSource } from "@kvcache/core";
import { createGraphCompiler } from "./compile-graph.ts";
import { type AttentionNode, cutAtAttention, inputsOf, type Segment } from "./graph-segments.ts";
import { encodeModel } from "./onnx-model.ts";
import type { StockModel } from "./stock-ort.ts";

/** A segment ready to run; plain data, so that it can be sent to a worker. */
export type ProgramSegment = (
  | {
      readonly kind: "dense";
      readonly model: StockModel;
      readonly inputs: readonly string[];
      readonly outputs: readonly string[];
    }
  | { readonly kind: "attention"; readonly node: AttentionNode }
) & {
  /** Values that nobody reads later. */
  readonly release: readonly string[];
};

/**
 * Compiles a graph of single assignments segment by segment, so that weights can move on early.
 * Its output and the values that `options.taps` names outlive the last segment.
 */
export async function* compileSegments(
  graph: DecoderGraph,
  weights: WeightSource,
  options: LoadOptions,
): AsyncGenerator<ProgramSegment> {
  const { taps = [] } = options;
  const segments = cutAtAttention(graph, taps);
  const compiler = createGraphCompiler(graph, weights, "stock", options);
  for (const [index, segment] of segments.entries()) {
    const release = lastReads(segments, index, [graph.output, ...taps]);
    if (segment.kind === "attention") {
      compiler.skip(segment.node);
      yield { kind: "attention", node: segment.node, release };
      continue;
    }
    const model = await compiler.compile(segment);
    yield {
      kind: "dense",
      model: encodeModel(model),
      inputs: model.inputs.map(({ name }) => name),
      outputs: segment.outputs,
      release,
    };
  }
}

const readsOf = (segment: Segment) =>
  segment.kind === "dense" ? segment.inputs : inputsOf(segment.node);

function lastReads(
  segments: readonly Segment[],
  index: number,
  results: readonly string[],
): string[] {
  const later = new Set([...results, ...segments.slice(index + 1).flatMap(readsOf)]);
  return readsOf(segments[index]!).filter((name) => !later.has(name));
}
