import { uniformNumbers } from "./uniform-numbers.ts";

/**
 * Normally distributed numbers of mean 0, f32 [length], the same for the same seed everywhere: Box
 * and Muller's transform.
 */
export function gaussianMatrix(seed: number, length: number, deviation: number): Float32Array {
  const uniform = uniformNumbers(seed);
  const out = new Float32Array(length);
  for (let i = 0; i < length; i += 2) {
    const radius = deviation * Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    out[i] = radius * Math.cos(angle);
    if (i + 1 < length) out[i + 1] = radius * Math.sin(angle);
  }
  return out;
}
