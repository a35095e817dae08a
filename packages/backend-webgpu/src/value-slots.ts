import type { DecoderGraph, GraphNode } from "@kvcache/core";

/** Where a value of the graph stands while a pass runs. */
export interface ValueSlot {
  readonly slot: number;
  /** Numbers per row. */
  readonly width: number;
  /** Whether its rows are the gathered ones, not the tokens. */
  readonly gathered: boolean;
}

/** Memory of a pass: values that never live at the same time share a slot. */
export interface ValuePlan {
  /** Per node: where it writes, and where its inputs stand, in the order of `inputsOf`. */
  readonly nodes: readonly { readonly out: ValueSlot; readonly inputs: readonly ValueSlot[] }[];
  /** Widest value of each slot. */
  readonly slotWidths: readonly number[];
  /** Values that outlive the pass: the output and the taps. */
  readonly final: ReadonlyMap<string, ValueSlot>;
}

/** Values that a node reads. */
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

function widthOf(node: GraphNode, inputs: readonly ValueSlot[], graph: DecoderGraph): number {
  if (node.op === "embed") return graph.hiddenSize;
  if (node.op === "linear") return node.outFeatures;
  return inputs[0]!.width;
}

/**
 * A dispatch cannot write memory that it reads, so a node's output never takes the slot of one of
 * its inputs, even where the graph gives both the same name.
 */
export function planValues(graph: DecoderGraph, taps: readonly string[]): ValuePlan {
  const kept = [graph.output, ...taps];
  const lastUse = new Map<number, number>();
  const writer = new Map<string, number>();
  graph.nodes.forEach((node, index) => {
    for (const name of inputsOf(node)) lastUse.set(writer.get(name)!, index);
    writer.set(node.out, index);
  });
  for (const name of kept) lastUse.set(writer.get(name)!, graph.nodes.length);

  const slotWidths: number[] = [];
  // Gathered values have other rows than those of tokens, so they never share a slot.
  const freeTokens: number[] = [];
  const freeGathered: number[] = [];
  const freeOf = (gathered: boolean) => (gathered ? freeGathered : freeTokens);
  const values = new Map<string, { readonly value: ValueSlot; readonly index: number }>();
  const nodes = graph.nodes.map((node, index) => {
    const read = inputsOf(node).map((name) => values.get(name)!);
    const inputs = read.map(({ value }) => value);
    const width = widthOf(node, inputs, graph);
    const gathered = node.op === "gather" || (inputs[0]?.gathered ?? false);
    const slot = freeOf(gathered).pop() ?? slotWidths.length;
    slotWidths[slot] = Math.max(slotWidths[slot] ?? 0, width);
    const out = { slot, width, gathered };
    for (const { value, index: writtenBy } of new Set(read))
      if (lastUse.get(writtenBy) === index) freeOf(value.gathered).push(value.slot);
    if (!lastUse.has(index)) freeOf(gathered).push(slot);
    values.set(node.out, { value: out, index });
    return { out, inputs };
  });
  const final = new Map(kept.map((name) => [name, values.get(name)!.value]));
  return { nodes, slotWidths, final };
}
