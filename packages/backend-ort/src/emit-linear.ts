import type { GraphNode, WeightFormat, WeightRef, WeightSource } from "@kvcache/core";
import type { ModelBuilder } from "./model-builder.ts";
import { onnxType } from "./onnx-model.ts";
import { quantisationBlock, quantiseRows } from "./quantise.ts";
import { bytesOf, toHalves, type WeightRows, weightRows } from "./weight-values.ts";

export type LinearNode = Extract<GraphNode, { op: "linear" }>;

export interface LinearOptions {
  readonly weights: WeightSource;
  readonly format: WeightFormat;
  /** Awaited between slabs of weights, so that loading does not hold the event loop. */
  readonly breathe: () => Promise<void>;
}

/** Weights converted between two breaths. */
const slabValues = 1 << 20;

export const refName = ({ name, rows }: WeightRef): string =>
  rows ? `${name} rows ${rows[0]} ${rows[1]}` : name;

/** Linears of a segment that read the same value: they become one product, split afterwards. */
export function groupLinears(nodes: readonly GraphNode[]): ReadonlyMap<GraphNode, LinearNode[]> {
  const groups = new Map<string, LinearNode[]>();
  for (const node of nodes) {
    if (node.op !== "linear") continue;
    const key = `${node.bias ? "bias" : "plain"} ${node.input}`;
    groups.set(key, [...(groups.get(key) ?? []), node]);
  }
  return new Map([...groups.values()].map((group) => [group[0]!, group]));
}

/** Emits a group of linears of one input as one product. */
export async function emitLinears(
  builder: ModelBuilder,
  group: readonly LinearNode[],
  options: LinearOptions,
): Promise<void> {
  const [first] = group as [LinearNode];
  const outs = group.map((node) => node.out);
  const product = group.length === 1 ? first.out : `${outs.join(" ")} joined`;
  const weight = group.map((node) => refName(node.weight)).join(" + ");
  const parts = group.map((node) => weightRows(options.weights, node.weight));
  const bias = first.bias && joinedBias(builder, group, options.weights);

  if (options.format === "f32" || options.format === "f16") {
    let matrix = await floatConstant(builder, weight, parts, options);
    if (options.format === "f16") {
      // Folded when the session is made: products of halves are slower than of floats here.
      builder.node("Cast", [matrix], [`${product} weight`], { to: { int: onnxType.f32 } });
      matrix = `${product} weight`;
    }
    builder.node("Gemm", [first.input, matrix, ...(bias ? [bias] : [])], [product], {
      transB: { int: 1 },
    });
  } else {
    const sum = bias ? `${product} unbiased` : product;
    await emitQuantised(builder, first.input, weight, parts, sum, options);
    if (bias) builder.node("Add", [sum, bias], [product]);
  }
  if (group.length > 1) {
    const sizes = builder.integers(...group.map((node) => node.outFeatures));
    builder.node("Split", [product, sizes], outs, { axis: { int: 1 } });
  }
}

/** Stacked weights as a constant [rows, columns]: f32 for format f32, f16 for all others. */
export async function floatConstant(
  builder: ModelBuilder,
  name: string,
  parts: readonly WeightRows[],
  options: LinearOptions,
): Promise<string> {
  if (builder.hasConstant(name)) return name;
  const half = options.format !== "f32";
  const dims = [sumRows(parts), parts[0]!.columns];
  const data = new (half ? Uint16Array : Float32Array)(dims[0]! * dims[1]!);
  let at = 0;
  for await (const floats of slabs(parts, options)) {
    data.set(half ? toHalves(floats, name) : floats, at);
    at += floats.length;
  }
  return builder.constant({ name, type: half ? "f16" : "f32", dims, data: bytesOf(data) });
}

async function emitQuantised(
  builder: ModelBuilder,
  input: string,
  name: string,
  parts: readonly WeightRows[],
  out: string,
  options: LinearOptions,
): Promise<void> {
  const bits = options.format === "int4" ? 4 : 8;
  const rows = sumRows(parts);
  const { columns } = parts[0]!;
  const blocks = Math.ceil(columns / quantisationBlock);
  const blockBytes = (quantisationBlock * bits) / 8;
  const zeroBytes = Math.ceil((blocks * bits) / 8);
  const values = new Uint8Array(rows * blocks * blockBytes);
  const scales = new Float32Array(rows * blocks);
  const zeroPoints = new Uint8Array(rows * zeroBytes);
  let row = 0;
  for await (const floats of slabs(parts, options)) {
    const slab = quantiseRows(floats, columns, bits, name);
    values.set(slab.values, row * blocks * blockBytes);
    scales.set(slab.scales, row * blocks);
    zeroPoints.set(slab.zeroPoints, row * zeroBytes);
    row += floats.length / columns;
  }
  const constants = [
    builder.constant({
      name: `${name} int${bits}`,
      type: "u8",
      dims: [rows, blocks, blockBytes],
      data: values,
    }),
    builder.constant({
      name: `${name} scales`,
      type: "f32",
      dims: [scales.length],
      data: bytesOf(scales),
    }),
    builder.constant({
      name: `${name} zero points`,
      type: "u8",
      dims: [zeroPoints.length],
      data: zeroPoints,
    }),
  ];
  builder.node(
    "MatMulNBits",
    [input, ...constants],
    [out],
    {
      K: { int: columns },
      N: { int: rows },
      bits: { int: bits },
      block_size: { int: quantisationBlock },
      accuracy_level: { int: 4 },
    },
    "com.microsoft",
  );
}

function joinedBias(
  builder: ModelBuilder,
  group: readonly LinearNode[],
  weights: WeightSource,
): string {
  const parts = group.map((node) => weightRows(weights, node.bias!).floats());
  const data = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    data.set(part, at);
    at += part.length;
  }
  const name = group.map((node) => refName(node.bias!)).join(" + ");
  return builder.constant({ name, type: "f32", dims: [data.length], data: bytesOf(data) });
}

const sumRows = (parts: readonly WeightRows[]) => parts.reduce((sum, part) => sum + part.rows, 0);

/** The values of stacked matrices, some rows at a time. */
async function* slabs(parts: readonly WeightRows[], { breathe }: LinearOptions) {
  for (const part of parts) {
    const step = Math.max(1, Math.floor(slabValues / part.columns));
    for (let row = 0; row < part.rows; row += step) {
      yield part.floats(row, Math.min(part.rows, row + step));
      await breathe();
    }
  }
}
