import { createModelBuilder } from "./model-builder.ts";
import type { OnnxModel, OnnxValue } from "./onnx-model.ts";

export interface AttentionVariant {
  readonly softcap: boolean;
  /** Whether Σa and Σa² per key are wanted. */
  readonly sums: boolean;
}

/**
 * Attention of a query group over one row of keys with standard ops. Inputs: query [G, T, d],
 * already scaled (and divided by the softcap); key, value [L, d]; mask [T, L], added to the logits;
 * with softcap the scalar `softcap`; with sums `counted`, 0 or 1, broadcast to [T, L]. Outputs: out
 * [G, T, d]; with sums `sums` and `squares` [L] over all queries and heads that count.
 */
export function attentionModel({ softcap, sums }: AttentionVariant): OnnxModel {
  const builder = createModelBuilder();
  const input = (name: string, ...dims: string[]) => builder.input(name, "f32", dims);
  const query = input("query", "G", "T", "d");
  const key = input("key", "L", "d");
  const value = input("value", "L", "d");
  const mask = input("mask", "T", "L");

  let logits = "logits";
  builder.node("FusedMatMul", [query, key], [logits], { transB: { int: 1 } }, "com.microsoft");
  if (softcap) {
    builder.node("Tanh", [logits], ["tanh"]);
    builder.node("Mul", ["tanh", builder.input("softcap", "f32", [])], ["capped"]);
    logits = "capped";
  }
  builder.node("Add", [logits, mask], ["masked"]);
  builder.node("Softmax", ["masked"], ["weights"], { axis: { int: -1 } });
  builder.node("MatMul", ["weights", value], ["out"]);
  const outputs: OnnxValue[] = [{ name: "out", type: "f32", dims: ["G", "T", "d"] }];
  if (sums) {
    const axes = builder.integers(0, 1);
    const attributes = { keepdims: { int: 0 } };
    builder.node("Mul", ["weights", input("counted", "T or 1", "L or 1")], ["seen"]);
    builder.node("ReduceSum", ["seen", axes], ["sums"], attributes);
    builder.node("ReduceSumSquare", ["seen", axes], ["squares"], attributes);
    for (const name of ["sums", "squares"]) outputs.push({ name, type: "f32", dims: ["L"] });
  }
  return builder.build(outputs);
}
