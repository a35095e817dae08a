import { type DecoderGraph, KvCacheError, ropeTable, type StepInput } from "@kvcache/core";
import type { OnnxType } from "./onnx-model.ts";

/** An input of a model, by the name that the compiler gave it. */
export interface StepArray {
  readonly type: OnnxType;
  readonly data: Int32Array | Float32Array;
  readonly dims: readonly number[];
}

/** The inputs that the models of a graph may read in one step, `handle` aside. */
export function stepInputs(graph: DecoderGraph, step: StepInput): ReadonlyMap<string, StepArray> {
  checkStep(step, graph.vocabSize);
  const arrays = new Map<string, StepArray>();
  for (const name of [
    "tokenIds",
    "positions",
    "cuTokens",
    "sequences",
    "logitIndices",
    "signalFlags",
    "attentionBuffers",
  ] as const)
    arrays.set(name, { type: "i32", data: step[name], dims: [step[name].length] });
  graph.ropes.forEach((rope, table) => {
    const dims = [step.positions.length, rope.dim / 2];
    const cos = new Float32Array(dims[0]! * dims[1]!);
    const sin = new Float32Array(cos.length);
    ropeTable(rope, step.positions, step.ropeLengths, cos, sin);
    arrays.set(`cos${table}`, { type: "f32", data: cos, dims });
    arrays.set(`sin${table}`, { type: "f32", data: sin, dims });
  });
  return arrays;
}

/** Throws `invalid-argument` when the arrays of a step do not fit together. */
function checkStep(step: StepInput, vocabSize: number): void {
  const numTokens = step.tokenIds.length;
  const numSequences = step.sequences.length;
  const fail = (what: string, value: unknown): never => {
    throw new KvCacheError("invalid-argument", `A step of ${numTokens} tokens ${what}.`, { value });
  };
  if (numTokens === 0) fail("cannot run", step.tokenIds);
  for (const name of ["positions", "ropeLengths"] as const)
    if (step[name].length !== numTokens) fail(`has ${step[name].length} ${name}`, step[name]);
  for (const name of ["signalFlags", "attentionBuffers"] as const)
    if (step[name].length !== numSequences)
      fail(`and ${numSequences} sequences has ${step[name].length} ${name}`, step[name]);
  for (const id of step.tokenIds)
    if (id < 0 || id >= vocabSize) fail(`has the token id ${id}, the vocabulary ${vocabSize}`, id);
  const { cuTokens } = step;
  if (
    cuTokens.length !== numSequences + 1 ||
    cuTokens[0] !== 0 ||
    cuTokens[numSequences] !== numTokens ||
    cuTokens.some((start, s) => s > 0 && start < cuTokens[s - 1]!)
  )
    fail(`cannot be divided among ${numSequences} sequences by cuTokens ${cuTokens}`, cuTokens);
  for (const index of step.logitIndices)
    if (index < 0 || index >= numTokens) fail(`has no token ${index} for logits`, index);
}
