import type { VectorCase } from "./case.ts";

/** Stands for the logarithm of a weight of 0: its exponential is none either. */
const smallest = 1e-30;

/**
 * A case that gives attention [L, Hq, m, n] in place of keys and queries, with keys and queries from
 * which our attention comes out as given: unit vectors, and logarithms of the weights.
 */
export function withKeys(vector: VectorCase): VectorCase {
  const attention = vector.tensors.get("attention");
  if (attention === undefined || vector.tensors.has("keys")) return vector;
  const { layers, queryHeads, kvHeads } = vector.shape;
  const [, , rows, tokens] = attention.shape as [number, number, number, number];
  const keys = new Float32Array(layers * kvHeads * tokens * tokens);
  for (let row = 0; row < layers * kvHeads; row++)
    for (let j = 0; j < tokens; j++) keys[(row * tokens + j) * tokens + j] = 1;
  // Logits are divided by √headDim before the softmax.
  const scale = Math.sqrt(tokens);
  const queries = Float32Array.from(
    attention.data,
    (weight) => Math.log(Math.max(smallest, weight)) * scale,
  );
  return {
    ...vector,
    shape: { ...vector.shape, headDim: tokens },
    tensors: new Map([
      ...vector.tensors,
      ["keys", { shape: [layers, kvHeads, tokens, tokens], data: keys }],
      ["queries", { shape: [layers, queryHeads, rows, tokens], data: queries }],
    ]),
  };
}
