import type {
  OnnxAttribute,
  OnnxModel,
  OnnxNode,
  OnnxTensor,
  OnnxType,
  OnnxValue,
} from "./onnx-model.ts";
import { bytesOf } from "./weight-values.ts";

/** Collects the nodes, inputs and constants of one ONNX model. */
export interface ModelBuilder {
  node(
    op: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes?: Readonly<Record<string, OnnxAttribute>>,
    domain?: string,
  ): void;
  /** Declares a graph input once and returns its name. */
  input(name: string, type: OnnxType, dims: OnnxValue["dims"]): string;
  hasConstant(name: string): boolean;
  constant(tensor: OnnxTensor): string;
  /** A f32 scalar. */
  scalar(value: number): string;
  /** An i64 vector, for shapes and sizes. */
  integers(...values: number[]): string;
  build(outputs: readonly OnnxValue[]): OnnxModel;
}

export function createModelBuilder(): ModelBuilder {
  const nodes: OnnxNode[] = [];
  const inputs = new Map<string, OnnxValue>();
  const constants = new Map<string, OnnxTensor>();

  const builder: ModelBuilder = {
    node(op, nodeInputs, outputs, attributes = {}, domain = "") {
      nodes.push({ op, domain, inputs: nodeInputs, outputs, attributes });
    },
    input(name, type, dims) {
      if (!inputs.has(name)) inputs.set(name, { name, type, dims });
      return name;
    },
    hasConstant: (name) => constants.has(name),
    constant(tensor) {
      constants.set(tensor.name, tensor);
      return tensor.name;
    },
    scalar(value) {
      const data = bytesOf(Float32Array.of(value));
      return builder.constant({ name: `scalar ${value}`, type: "f32", dims: [], data });
    },
    integers(...values) {
      const data = bytesOf(BigInt64Array.from(values, BigInt));
      return builder.constant({
        name: `integers ${values.join(" ")}`,
        type: "i64",
        dims: [values.length],
        data,
      });
    },
    build: (outputs) => ({
      nodes,
      inputs: [...inputs.values()],
      outputs,
      initializers: [...constants.values()],
    }),
  };
  return builder;
}
