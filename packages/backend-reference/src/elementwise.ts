import { KvCacheError } from "@kvcache/core";

/** Rows of a table: weight [numRows, width] at `ids`, times `scale` → [ids.length, width]. */
export function embed(
  weight: Float32Array,
  width: number,
  ids: Int32Array,
  scale: number,
): Float32Array {
  const out = gather(weight, width, ids);
  if (scale !== 1) for (let i = 0; i < out.length; i++) out[i]! *= scale;
  return out;
}

/** Rows of a matrix [numRows, width]. Throws `invalid-argument` for a row that is not there. */
export function gather(rows: Float32Array, width: number, indices: Int32Array): Float32Array {
  const out = new Float32Array(indices.length * width);
  const numRows = rows.length / width;
  indices.forEach((index, i) => {
    if (!(index >= 0 && index < numRows))
      throw new KvCacheError(
        "invalid-argument",
        `There is no row ${index} among ${numRows} (token ids and logit indices start at 0).`,
        { value: index },
      );
    out.set(rows.subarray(index * width, (index + 1) * width), i * width);
  });
  return out;
}

/** x / √(mean(x²) + ε) × (weight, plus 1 where `unitOffset`), over groups of weight.length values. */
export function rmsNorm(
  input: Float32Array,
  weight: Float32Array,
  epsilon: number,
  unitOffset: boolean,
): Float32Array {
  const width = weight.length;
  const out = new Float32Array(input.length);
  const offset = unitOffset ? 1 : 0;
  for (let start = 0; start < input.length; start += width) {
    let squares = 0;
    for (let i = start; i < start + width; i++) squares += input[i]! * input[i]!;
    const factor = 1 / Math.sqrt(squares / width + epsilon);
    for (let i = 0; i < width; i++)
      out[start + i] = input[start + i]! * factor * (weight[i]! + offset);
  }
  return out;
}

const activations = {
  silu: (x: number) => x / (1 + Math.exp(-x)),
  "gelu-tanh": (x: number) =>
    0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
} as const;

/** activation(gate) × up. */
export function gatedActivation(
  gate: Float32Array,
  up: Float32Array,
  activation: keyof typeof activations,
): Float32Array {
  const apply = activations[activation];
  const out = new Float32Array(gate.length);
  for (let i = 0; i < gate.length; i++) out[i] = apply(gate[i]!) * up[i]!;
  return out;
}

/** a + scale × b. */
export function addScaled(a: Float32Array, b: Float32Array, scale: number): Float32Array {
  const out = new Float32Array(a.length);
  for (let i = 0; i < a.length; i++) out[i] = a[i]! + scale * b[i]!;
  return out;
}

/** scale × input, then softcap × tanh(· / softcap). */
export function scaleLogits(
  input: Float32Array,
  scale: number,
  softcap: number | undefined,
): Float32Array {
  const out = new Float32Array(input.length);
  for (let i = 0; i < input.length; i++) {
    const logit = scale * input[i]!;
    out[i] = softcap === undefined ? logit : softcap * Math.tanh(logit / softcap);
  }
  return out;
}
