import { assert, type DecoderGraph, type GraphNode } from "@kvcache/core";
import { floatConstant, type LinearOptions, refName } from "./emit-linear.ts";
import type { ModelBuilder } from "./model-builder.ts";
import { onnxType } from "./onnx-model.ts";
import { bytesOf, weightRows } from "./weight-values.ts";

/** What runs the model: our addon with its own ops, or the stock package with standard ones. */
export type Dialect = "native" | "stock";

export interface EmitContext extends LinearOptions {
  readonly graph: DecoderGraph;
  readonly dialect: Dialect;
  /** Width of each value. */
  readonly widths: Map<string, number>;
}

type NodeOf<Op extends GraphNode["op"]> = Extract<GraphNode, { op: Op }>;

/** Width of the value that a node writes. */
export function widthOf(node: GraphNode, { graph, widths, weights }: EmitContext): number {
  switch (node.op) {
    case "embed":
      return weightRows(weights, node.weight).columns;
    case "linear":
      return node.outFeatures;
    case "pagedAttention":
      return graph.shape.numQueryHeads * graph.shape.headDim;
    case "gatedActivation":
      return widths.get(node.up)!;
    case "add":
      return widths.get(node.a)!;
    default:
      return widths.get(node.input)!;
  }
}

export async function emitEmbed(
  builder: ModelBuilder,
  node: NodeOf<"embed">,
  context: EmitContext,
): Promise<void> {
  const rows = weightRows(context.weights, node.weight);
  const table = await floatConstant(builder, refName(node.weight), [rows], context);
  const steps: [string, readonly string[]][] = [
    ["Gather", [builder.input("tokenIds", "i32", ["T"])]],
  ];
  if (context.format !== "f32") steps.push(["Cast", []]);
  if (node.scale !== 1) steps.push(["Mul", [builder.scalar(node.scale)]]);
  let from = table;
  steps.forEach(([op, operands], i) => {
    const to = i === steps.length - 1 ? node.out : `${node.out} ${op}`;
    builder.node(op, [from, ...operands], [to], op === "Cast" ? { to: { int: onnxType.f32 } } : {});
    from = to;
  });
}

/** Constant of a norm's weight, with 1 added where the model stores offsets from 1. */
export function normWeight(
  builder: ModelBuilder,
  node: NodeOf<"rmsNorm">,
  { weights }: EmitContext,
): { readonly name: string; readonly length: number } {
  const stored = weightRows(weights, node.weight).floats();
  const values = node.unitOffset ? stored.map((value) => value + 1) : stored;
  const name = `${refName(node.weight)}${node.unitOffset ? " + 1" : ""}`;
  builder.constant({ name, type: "f32", dims: [values.length], data: bytesOf(values) });
  return { name, length: values.length };
}

export function emitNorm(
  builder: ModelBuilder,
  node: NodeOf<"rmsNorm">,
  context: EmitContext,
): void {
  const weight = normWeight(builder, node, context);
  const width = context.widths.get(node.input)!;
  const attributes = { axis: { int: -1 }, epsilon: { float: node.epsilon } };
  if (weight.length === width) {
    builder.node("SimplifiedLayerNormalization", [node.input, weight.name], [node.out], attributes);
    return;
  }
  const [heads, normed] = [`${node.out} heads`, `${node.out} normed`];
  const grouped = builder.integers(0, width / weight.length, weight.length);
  builder.node("Reshape", [node.input, grouped], [heads]);
  builder.node("SimplifiedLayerNormalization", [heads, weight.name], [normed], attributes);
  builder.node("Reshape", [normed, builder.integers(0, width)], [node.out]);
}

/** a + scale × b, joined with the norm that reads the sum where there is one. */
export function emitAdd(
  builder: ModelBuilder,
  node: NodeOf<"add">,
  norm: NodeOf<"rmsNorm"> | undefined,
  context: EmitContext,
): void {
  let { b } = node;
  if (node.scale !== 1) {
    b = `${node.out} scaled`;
    builder.node("Mul", [node.b, builder.scalar(node.scale)], [b]);
  }
  if (norm)
    builder.node(
      "SkipSimplifiedLayerNormalization",
      [node.a, b, normWeight(builder, norm, context).name],
      [norm.out, "", "", node.out],
      { epsilon: { float: norm.epsilon } },
      "com.microsoft",
    );
  else builder.node("Add", [node.a, b], [node.out]);
}

export function emitRope(
  builder: ModelBuilder,
  node: NodeOf<"rope">,
  { graph, dialect }: EmitContext,
): void {
  const { dim } = graph.ropes[node.table]!;
  const cos = builder.input(`cos${node.table}`, "f32", ["T", dim / 2]);
  const sin = builder.input(`sin${node.table}`, "f32", ["T", dim / 2]);
  if (dialect === "native") {
    const attributes = { num_heads: { int: node.numHeads } };
    builder.node("Rope", [node.input, cos, sin], [node.out], attributes, "kvcache");
    return;
  }
  // The tables hold one row per token of the step, so "positions" count from 0 here.
  const [batched, rotated] = [`${node.out} batched`, `${node.out} rotated`];
  builder.node("Unsqueeze", [node.input, builder.integers(0)], [batched]);
  builder.node(
    "RotaryEmbedding",
    [batched, builder.integers(0), cos, sin],
    [rotated],
    { num_heads: { int: node.numHeads }, rotary_embedding_dim: { int: dim } },
    "com.microsoft",
  );
  builder.node("Squeeze", [rotated, builder.integers(0)], [node.out]);
}

export function emitAttention(
  builder: ModelBuilder,
  node: NodeOf<"pagedAttention">,
  { dialect }: EmitContext,
): void {
  assert(dialect === "native", "Attention nodes do not belong into a stock segment.");
  const step = [
    builder.input("handle", "i64", [1]),
    builder.input("cuTokens", "i32", ["S + 1"]),
    builder.input("positions", "i32", ["T"]),
    builder.input("sequences", "i32", ["S"]),
    builder.input("signalFlags", "i32", ["S"]),
    builder.input("attentionBuffers", "i32", ["S"]),
  ];
  const attributes = {
    layer: { int: node.layer },
    sliding_window: { int: node.slidingWindow ?? 0 },
    scale: { float: node.scale },
    softcap: { float: node.softcap ?? 0 },
  };
  const inputs = [node.query, node.key, node.value, ...step];
  builder.node("PagedAttention", inputs, [node.out], attributes, "kvcache");
}

export function emitGated(builder: ModelBuilder, node: NodeOf<"gatedActivation">): void {
  const activated = `${node.out} activated`;
  if (node.activation === "silu")
    builder.node("QuickGelu", [node.gate], [activated], { alpha: { float: 1 } }, "com.microsoft");
  else builder.node("Gelu", [node.gate], [activated], { approximate: { string: "tanh" } });
  builder.node("Mul", [activated, node.up], [node.out]);
}

export function emitLogits(builder: ModelBuilder, node: NodeOf<"logits">): void {
  const { input, out, scale, softcap } = node;
  if (softcap === undefined) {
    if (scale === 1) builder.node("Identity", [input], [out]);
    else builder.node("Mul", [input, builder.scalar(scale)], [out]);
    return;
  }
  builder.node("Mul", [input, builder.scalar(scale / softcap)], [`${out} shrunk`]);
  builder.node("Tanh", [`${out} shrunk`], [`${out} capped`]);
  builder.node("Mul", [`${out} capped`, builder.scalar(softcap)], [out]);
}
