import { KvCacheError } from "./errors.ts";

/** Parameters of rotary position embeddings, as Hugging Face configs name them. */
export type RopeScaling =
  | { readonly type: "default" }
  | { readonly type: "linear"; readonly factor: number }
  | { readonly type: "dynamic"; readonly factor: number }
  | {
      readonly type: "llama3";
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalMaxPositions: number;
    }
  | {
      readonly type: "yarn";
      readonly factor: number;
      readonly originalMaxPositions: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly truncate: boolean;
      readonly attentionFactor: number;
    }
  | {
      readonly type: "longrope";
      readonly shortFactor: readonly number[];
      readonly longFactor: readonly number[];
      readonly originalMaxPositions: number;
      readonly attentionFactor: number;
    };

export interface RopeParameters {
  readonly theta: number;
  /** Values of a head that are rotated: even, ≤ headDim. */
  readonly dim: number;
  readonly maxPositions: number;
  readonly scaling: RopeScaling;
}

const isDynamic = (scaling: RopeScaling) =>
  scaling.type === "dynamic" || scaling.type === "longrope";

/**
 * Inverse frequencies [dim / 2] for a call that reaches `length` positions (only dynamic NTK and
 * longrope depend on it). Radians per position.
 */
export function inverseFrequencies(rope: RopeParameters, length: number): Float64Array {
  const { dim, scaling } = rope;
  const half = dim / 2;
  let theta = rope.theta;
  if (scaling.type === "dynamic") {
    const reach = Math.max(length, rope.maxPositions);
    theta *=
      ((scaling.factor * reach) / rope.maxPositions - (scaling.factor - 1)) ** (dim / (dim - 2));
  }
  const base = Float64Array.from({ length: half }, (_, i) => theta ** (-(2 * i) / dim));
  switch (scaling.type) {
    case "default":
    case "dynamic":
      return base;
    case "linear":
      return base.map((f) => f / scaling.factor);
    case "llama3":
      return base.map((f) => {
        const wavelength = (2 * Math.PI) / f;
        const {
          factor,
          lowFreqFactor: low,
          highFreqFactor: high,
          originalMaxPositions: original,
        } = scaling;
        if (wavelength < original / high) return f;
        if (wavelength > original / low) return f / factor;
        const smooth = (original / wavelength - low) / (high - low);
        return ((1 - smooth) * f) / factor + smooth * f;
      });
    case "yarn": {
      const { factor, originalMaxPositions: original, betaFast, betaSlow, truncate } = scaling;
      const correction = (rotations: number) =>
        (dim * Math.log(original / (rotations * 2 * Math.PI))) / (2 * Math.log(rope.theta));
      let low = correction(betaFast);
      let high = correction(betaSlow);
      if (truncate) [low, high] = [Math.floor(low), Math.ceil(high)];
      low = Math.max(low, 0);
      high = Math.min(high, dim - 1);
      const span = high === low ? 0.001 : high - low;
      return base.map((f, i) => {
        const ramp = Math.min(1, Math.max(0, (i - low) / span));
        return (f / factor) * ramp + f * (1 - ramp);
      });
    }
    case "longrope": {
      const factors =
        length > scaling.originalMaxPositions ? scaling.longFactor : scaling.shortFactor;
      if (factors.length !== half)
        throw new KvCacheError(
          "invalid-model",
          `longrope needs ${half} factors, got ${factors.length}.`,
        );
      return base.map((f, i) => f / factors[i]!);
    }
  }
}

/** Factor on cos and sin, for queries and keys alike. */
export const attentionFactor = (rope: RopeParameters): number =>
  rope.scaling.type === "yarn" || rope.scaling.type === "longrope"
    ? rope.scaling.attentionFactor
    : 1;

/**
 * Fills cos and sin, each [positions.length, dim / 2]. `lengths[i]` is the number of positions
 * that the call of token i reaches (prompt length in a prefill, position + 1 while decoding).
 */
export function ropeTable(
  rope: RopeParameters,
  positions: Int32Array,
  lengths: Int32Array,
  cos: Float32Array,
  sin: Float32Array,
): void {
  const half = rope.dim / 2;
  const scale = attentionFactor(rope);
  let frequencies = inverseFrequencies(rope, lengths[0] ?? 1);
  let length = lengths[0] ?? 1;
  for (let i = 0; i < positions.length; i++) {
    if (lengths[i] !== length && isDynamic(rope.scaling)) {
      length = lengths[i]!;
      frequencies = inverseFrequencies(rope, length);
    }
    for (let j = 0; j < half; j++) {
      const angle = positions[i]! * frequencies[j]!;
      cos[i * half + j] = Math.cos(angle) * scale;
      sin[i * half + j] = Math.sin(angle) * scale;
    }
  }
}
