import { createProtobufWriter, type ProtobufWriter } from "./protobuf.ts";

/** Numbers of TensorProto.DataType (onnx.proto). */
export const onnxType = { f32: 1, u8: 2, i32: 6, i64: 7, f16: 10, u32: 12 } as const;
export type OnnxType = keyof typeof onnxType;

export type OnnxAttribute =
  | { readonly int: number }
  | { readonly float: number }
  | { readonly string: string };

export interface OnnxNode {
  readonly op: string;
  /** "" is the standard operator set. */
  readonly domain?: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
}

/** An input or output of the graph; a dimension that is not known yet has a name. */
export interface OnnxValue {
  readonly name: string;
  readonly type: OnnxType;
  readonly dims: readonly (number | string)[];
}

/** A constant: row-major, little-endian. */
export interface OnnxTensor {
  readonly name: string;
  readonly type: OnnxType;
  readonly dims: readonly number[];
  readonly data: Uint8Array;
}

export interface OnnxModel {
  readonly nodes: readonly OnnxNode[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly initializers: readonly OnnxTensor[];
}

export interface EncodedModel {
  /** The ModelProto without the large constants. */
  readonly bytes: Uint8Array;
  /** Constants that the model names as external data: the file name is the constant's name. */
  readonly external: readonly OnnxTensor[];
}

/** Constants of at least this many bytes stay outside the model, which may not exceed 2 GiB. */
const externalBytes = 1024;

const operatorSets = { "": 21, "com.microsoft": 1, kvcache: 1 } as const;

/** Encodes a model as protobuf, by the field numbers of onnx.proto (IR version 10). */
export function encodeModel(model: OnnxModel): EncodedModel {
  const isExternal = (tensor: OnnxTensor) => tensor.data.byteLength >= externalBytes;
  const writer = createProtobufWriter()
    .int(1, 10)
    .string(2, "kvcache")
    .message(7, (graph) => {
      for (const node of model.nodes) graph.message(1, (w) => writeNode(w, node));
      graph.string(2, "decoder");
      for (const tensor of model.initializers)
        graph.message(5, (w) => writeTensor(w, tensor, isExternal(tensor)));
      for (const value of model.inputs) graph.message(11, (w) => writeValue(w, value));
      for (const value of model.outputs) graph.message(12, (w) => writeValue(w, value));
    });
  const domains = new Set(["", ...model.nodes.map((node) => node.domain ?? "")]);
  for (const [domain, version] of Object.entries(operatorSets))
    if (domains.has(domain)) writer.message(8, (w) => w.string(1, domain).int(2, version));
  return { bytes: writer.finish(), external: model.initializers.filter(isExternal) };
}

function writeNode(writer: ProtobufWriter, node: OnnxNode): void {
  for (const input of node.inputs) writer.string(1, input);
  for (const output of node.outputs) writer.string(2, output);
  writer.string(3, `${node.op}:${node.outputs[0]}`).string(4, node.op);
  for (const [name, attribute] of Object.entries(node.attributes ?? {}))
    writer.message(5, (w) => {
      w.string(1, name);
      if ("int" in attribute) w.int(3, attribute.int).int(20, 2);
      else if ("float" in attribute) w.float(2, attribute.float).int(20, 1);
      else w.string(4, attribute.string).int(20, 3);
    });
  if (node.domain) writer.string(7, node.domain);
}

function writeTensor(writer: ProtobufWriter, tensor: OnnxTensor, external: boolean): void {
  for (const size of tensor.dims) writer.int(1, size);
  writer.int(2, onnxType[tensor.type]).string(8, tensor.name);
  if (!external) {
    writer.bytes(9, tensor.data);
    return;
  }
  const place = { location: tensor.name, offset: "0", length: String(tensor.data.byteLength) };
  for (const [key, value] of Object.entries(place))
    writer.message(13, (w) => w.string(1, key).string(2, value));
  writer.int(14, 1);
}

function writeValue(writer: ProtobufWriter, { name, type, dims }: OnnxValue): void {
  writer.string(1, name).message(2, (w) =>
    w.message(1, (tensor) =>
      tensor.int(1, onnxType[type]).message(2, (shape) => {
        for (const size of dims)
          shape.message(1, (dim) =>
            typeof size === "number" ? dim.int(1, size) : dim.string(2, size),
          );
      }),
    ),
  );
}
