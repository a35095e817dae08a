import type { WeightFormat, WgslBinding, WgslBuffer } from "@kvcache/core";

/** Columns of an integer matrix that share a scale and a zero point. */
export const weightBlock = 32;

/** How a matrix of weights stands in memory; integers as `quantiseRows` makes them. */
export interface StoredMatrix {
  readonly dtype: WeightFormat;
  readonly weight: WgslBuffer;
  /** int8 and int4: f32 [rows, blocks]. */
  readonly scales?: WgslBuffer | undefined;
  /** int8 and int4: a byte per block, u8 [rows, blocks]. */
  readonly zeros?: WgslBuffer | undefined;
}

/** A row of weights is read in chunks: elements of `type`, of `quads` × 4 columns each. */
export interface WeightChunks {
  readonly type: string;
  readonly quads: number;
  readonly isInteger: boolean;
  /** WGSL: `quadOf(chunk, k)` and, for integers, `scaleAt(block)`, `zeroAt(block)`. */
  readonly code: string;
}

const halves = "vec4f(unpack2x16float(x), unpack2x16float(y))";
const scaleCode = /* wgsl */ `
fn scaleAt(block: u32) -> f32 { return scales[block]; }
fn zeroAt(block: u32) -> f32 { return f32((zeros[block / 4u] >> (8u * (block % 4u))) & 255u); }
`;

const chunks = {
  f32: {
    type: "vec4f",
    quads: 1,
    isInteger: false,
    code: "fn quadOf(w: vec4f, k: u32) -> vec4f { return w; }",
  },
  // Rows that are no multiple of 8 halves.
  f16quad: {
    type: "vec2u",
    quads: 1,
    isInteger: false,
    code: `fn quadOf(w: vec2u, k: u32) -> vec4f { let x = w.x; let y = w.y; return ${halves}; }`,
  },
  f16: {
    type: "vec4u",
    quads: 2,
    isInteger: false,
    code: `fn quadOf(w: vec4u, k: u32) -> vec4f { let x = w[2u * k]; let y = w[2u * k + 1u]; return ${halves}; }`,
  },
  int8: {
    type: "vec4u",
    quads: 4,
    isInteger: true,
    code: `${scaleCode}
fn quadOf(w: vec4u, k: u32) -> vec4f { return vec4f((vec4u(w[k]) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u)); }`,
  },
  int4: {
    type: "vec4u",
    quads: 8,
    isInteger: true,
    code: `${scaleCode}
fn quadOf(w: vec4u, k: u32) -> vec4f {
  return vec4f((vec4u(w[k / 2u]) >> (vec4u(0u, 4u, 8u, 12u) + 16u * (k % 2u))) & vec4u(15u));
}`,
  },
} as const satisfies Record<string, WeightChunks>;

export function weightChunks(dtype: WeightFormat, inFeatures: number): WeightChunks {
  return dtype === "f16" && inFeatures % 8 !== 0 ? chunks.f16quad : chunks[dtype];
}

/** Chunks of a row; the last of an integer row is filled up with zeros. */
export const chunksPerRow = ({ quads, isInteger }: WeightChunks, inFeatures: number): number =>
  isInteger
    ? (Math.ceil(inFeatures / weightBlock) * weightBlock) / (4 * quads)
    : inFeatures / (4 * quads);

/** What a dispatch binds to read the matrix. */
export const weightReads = (
  { weight, scales, zeros }: StoredMatrix,
  { type }: WeightChunks,
): Readonly<Record<string, WgslBinding>> => ({
  weight: { buffer: weight, type },
  ...(scales && { scales: { buffer: scales, type: "f32" } }),
  ...(zeros && { zeros: { buffer: zeros, type: "u32" } }),
});
