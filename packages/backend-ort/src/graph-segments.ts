import type { DecoderGraph, GraphNode } from "@kvcache/core";

export type AttentionNode = Extract<GraphNode, { op: "pagedAttention" }>;

/** A run of nodes that becomes one model. */
export interface DenseSegment {
  readonly kind: "dense";
  readonly nodes: readonly GraphNode[];
  /** Values that earlier segments wrote. */
  readonly inputs: readonly string[];
  /** Values that later segments read, the graph's output, and taps. */
  readonly outputs: readonly string[];
}

export interface AttentionSegment {
  readonly kind: "attention";
  readonly node: AttentionNode;
}

export type Segment = DenseSegment | AttentionSegment;

/** Names of the values that a node reads. */
export function inputsOf(node: GraphNode): readonly string[] {
  switch (node.op) {
    case "embed":
      return [];
    case "pagedAttention":
      return [node.query, node.key, node.value];
    case "gatedActivation":
      return [node.gate, node.up];
    case "add":
      return [node.a, node.b];
    default:
      return [node.input];
  }
}

/** The whole graph as one segment; its output comes before the taps. */
export const wholeGraph = (graph: DecoderGraph, taps: readonly string[] = []): DenseSegment => ({
  kind: "dense",
  nodes: graph.nodes,
  inputs: [],
  outputs: [graph.output, ...taps],
});

/** The graph (of single assignments) cut at its attention nodes. */
export function cutAtAttention(
  graph: DecoderGraph,
  taps: readonly string[] = [],
): readonly Segment[] {
  const runs: GraphNode[][] = [[]];
  for (const node of graph.nodes)
    if (node.op === "pagedAttention") runs.push([node], []);
    else runs[runs.length - 1]!.push(node);

  const segments = runs.filter((run) => run.length > 0);
  const writer = new Map<string, number>();
  const crossing = new Set([graph.output, ...taps]);
  segments.forEach((run, segment) => {
    for (const node of run) {
      for (const name of inputsOf(node)) {
        if (writer.get(name) !== segment) crossing.add(name);
      }
      writer.set(node.out, segment);
    }
  });
  return segments.map((run, segment): Segment => {
    const first = run[0]!;
    if (first.op === "pagedAttention") return { kind: "attention", node: first };
    const read = new Set(run.flatMap(inputsOf));
    return {
      kind: "dense",
      nodes: run,
      inputs: [...read].filter((name) => writer.get(name) !== segment),
      outputs: run.map((node) => node.out).filter((name) => crossing.has(name)),
    };
  });
}
