import { assert, type DecoderGraph, type GraphNode, KvCacheError } from "@kvcache/core";

const operands = new Set(["input", "query", "key", "value", "gate", "up", "a", "b"]);

/**
 * The same graph with every value written once, as ONNX wants it: a graph may write a name again
 * (x = x + …), later readers then mean the last one, and so do `taps`. Throws `internal` when a
 * value is read before it is written, `invalid-argument` for a tap that none writes.
 */
export function singleAssignment(
  graph: DecoderGraph,
  taps: readonly string[] = [],
): { readonly graph: DecoderGraph; readonly taps: readonly string[] } {
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
  return {
    graph: { ...graph, nodes, output: read(graph.output, "the output") },
    taps: taps.map((name) => {
      const value = current.get(name);
      if (value !== undefined) return value;
      throw new KvCacheError("invalid-argument", `The graph has no value ${name} to tap.`, {
        value: name,
      });
    }),
  };
}
