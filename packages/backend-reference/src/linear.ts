import type { Pacer } from "./pause.ts";

export interface LinearParams {
  /** f32 [numTokens, inFeatures]. */
  readonly input: Float32Array;
  /** f32 [outFeatures, inFeatures]. */
  readonly weight: Float32Array;
  /** f32 [outFeatures]. */
  readonly bias: Float32Array | undefined;
  readonly numTokens: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
}

/** Tokens whose inputs stay in the processor's cache while all weights pass by. */
const tokenTile = 32;
/** Multiplications between two looks at the clock. */
const workTile = 2 ** 21;

/** input × weightᵀ + bias: f32 [numTokens, outFeatures], accumulated in float64. */
export async function linear(params: LinearParams, pacer: Pacer): Promise<Float32Array> {
  const { numTokens, inFeatures, outFeatures } = params;
  const out = new Float32Array(numTokens * outFeatures);
  for (let token = 0; token < numTokens; token += tokenTile) {
    const endToken = Math.min(numTokens, token + tokenTile);
    const features = Math.max(4, Math.floor(workTile / (inFeatures * (endToken - token)) / 4) * 4);
    for (let feature = 0; feature < outFeatures; feature += features) {
      linearTile(params, out, token, endToken, feature, Math.min(outFeatures, feature + features));
      if (pacer.due()) await pacer.pause();
    }
  }
  return out;
}

/** One tile; four features of two tokens at a time, so that a load serves several products. */
function linearTile(
  { input, weight, bias, inFeatures, outFeatures }: LinearParams,
  out: Float32Array,
  beginToken: number,
  endToken: number,
  beginFeature: number,
  endFeature: number,
): void {
  const wholeFeatures = endFeature - ((endFeature - beginFeature) % 4);
  const wholeTokens = endToken - ((endToken - beginToken) % 2);
  for (let feature = beginFeature; feature < wholeFeatures; feature += 4) {
    const w = feature * inFeatures;
    for (let token = beginToken; token < wholeTokens; token += 2)
      twoByFour(
        input,
        token * inFeatures,
        weight,
        w,
        inFeatures,
        out,
        token * outFeatures + feature,
        outFeatures,
      );
    if (wholeTokens < endToken)
      oneByFour(
        input,
        wholeTokens * inFeatures,
        weight,
        w,
        inFeatures,
        out,
        wholeTokens * outFeatures + feature,
      );
  }
  for (let feature = wholeFeatures; feature < endFeature; feature++)
    for (let token = beginToken; token < endToken; token++) {
      let sum = 0;
      for (let i = 0; i < inFeatures; i++)
        sum += input[token * inFeatures + i]! * weight[feature * inFeatures + i]!;
      out[token * outFeatures + feature] = sum;
    }
  if (bias)
    for (let token = beginToken; token < endToken; token++)
      for (let i = beginFeature; i < endFeature; i++) out[token * outFeatures + i]! += bias[i]!;
}

// Small functions, so that the compiler keeps their sums in registers.

function twoByFour(
  input: Float32Array,
  x: number,
  weight: Float32Array,
  w: number,
  width: number,
  out: Float32Array,
  at: number,
  outStride: number,
): void {
  let a0 = 0;
  let a1 = 0;
  let a2 = 0;
  let a3 = 0;
  let b0 = 0;
  let b1 = 0;
  let b2 = 0;
  let b3 = 0;
  const y = x + width;
  const w1 = w + width;
  const w2 = w1 + width;
  const w3 = w2 + width;
  for (let i = 0; i < width; i++) {
    const a = input[x + i]!;
    const b = input[y + i]!;
    const p = weight[w + i]!;
    const q = weight[w1 + i]!;
    const r = weight[w2 + i]!;
    const s = weight[w3 + i]!;
    a0 += a * p;
    a1 += a * q;
    a2 += a * r;
    a3 += a * s;
    b0 += b * p;
    b1 += b * q;
    b2 += b * r;
    b3 += b * s;
  }
  out[at] = a0;
  out[at + 1] = a1;
  out[at + 2] = a2;
  out[at + 3] = a3;
  out[at + outStride] = b0;
  out[at + outStride + 1] = b1;
  out[at + outStride + 2] = b2;
  out[at + outStride + 3] = b3;
}

function oneByFour(
  input: Float32Array,
  x: number,
  weight: Float32Array,
  w: number,
  width: number,
  out: Float32Array,
  at: number,
): void {
  let a0 = 0;
  let a1 = 0;
  let a2 = 0;
  let a3 = 0;
  for (let i = 0; i < width; i++) {
    const a = input[x + i]!;
    a0 += a * weight[w + i]!;
    a1 += a * weight[w + width + i]!;
    a2 += a * weight[w + 2 * width + i]!;
    a3 += a * weight[w + 3 * width + i]!;
  }
  out[at] = a0;
  out[at + 1] = a1;
  out[at + 2] = a2;
  out[at + 3] = a3;
}
