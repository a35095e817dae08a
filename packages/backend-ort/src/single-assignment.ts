import { assert, type DecoderGraph, type GraphNode } from "@kvcache/core";

const operands = new Set(["input", "query", "key", "value", "gate", "up", "a", "b"]);

/**
 * The same graph with every value written once, as ONNX wants it: a graph may write a name again
 * (x = x + …), later readers then mean the last one. Throws `internal` when a value is read before
 * it is written.
 */
export function singleAssignment(graph: DecoderGraph): DecoderGraph {
  const current = new Map<string, string>();
  const read = (name: string, by: string): string => {
    const value = current.get(name);
    assert(
      value !== undefined,
      `The node that writes ${by} reads ${name}, which none wrote before.`,
    );
    return value;
  };
  const nodes = graph.nodes.map((node, index): GraphNode => {
    const renamed = Object.fromEntries(
      Object.entries(node).map(([key, value]) => [
        key,
        operands.has(key) ? read(value as string, node.out) : value,
      ]),
    ) as GraphNode;
    const out = current.has(node.out) ? `${node.out} ${index}` : node.out;
    current.set(node.out, out);
    return { ...renamed, out };
  });
  return { ...graph, nodes, output: read(graph.output, "the output") };
}
