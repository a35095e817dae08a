/** Row-major numbers: row r starts at r × stride. */
export interface Matrix {
  readonly data: Float64Array;
  readonly stride: number;
}

/**
 * Products of the first `numVectors` rows of one matrix with the first `count` rows of another, over
 * their first `width` numbers: out[v, j] = Σ_c vectors[v, c] × rows[j, c]. Two vectors and four rows
 * at a time, so that every load serves several products.
 */
export function dotRows(
  { data: vectors, stride: vectorStride }: Matrix,
  numVectors: number,
  { data: rows, stride }: Matrix,
  count: number,
  width: number,
  { data: out, stride: outStride }: Matrix,
): void {
  const pairs = numVectors - (numVectors % 2);
  const fours = count - (count % 4);
  for (let v = 0; v < pairs; v += 2) {
    const x = v * vectorStride;
    const y = x + vectorStride;
    const at = v * outStride;
    for (let j = 0; j < fours; j += 4)
      twoByFour(vectors, x, y, rows, j * stride, stride, width, out, at + j, outStride);
    for (let j = fours; j < count; j++) {
      out[at + j] = dot(vectors, x, rows, j * stride, width);
      out[at + outStride + j] = dot(vectors, y, rows, j * stride, width);
    }
  }
  if (pairs < numVectors)
    for (let j = 0; j < count; j++)
      out[pairs * outStride + j] = dot(vectors, pairs * vectorStride, rows, j * stride, width);
}

/** A function of its own, so that the compiler keeps its sums in registers. */
function twoByFour(
  vectors: Float64Array,
  x: number,
  y: number,
  rows: Float64Array,
  r: number,
  stride: number,
  width: number,
  out: Float64Array,
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
  const r1 = r + stride;
  const r2 = r1 + stride;
  const r3 = r2 + stride;
  for (let i = 0; i < width; i++) {
    const a = vectors[x + i]!;
    const b = vectors[y + i]!;
    const p = rows[r + i]!;
    const q = rows[r1 + i]!;
    const s = rows[r2 + i]!;
    const t = rows[r3 + i]!;
    a0 += a * p;
    a1 += a * q;
    a2 += a * s;
    a3 += a * t;
    b0 += b * p;
    b1 += b * q;
    b2 += b * s;
    b3 += b * t;
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

/** Σ a[at + i] × b[bt + i] for i < width, in four independent sums. */
function dot(a: Float64Array, at: number, b: Float64Array, bt: number, width: number): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let i = 0;
  for (; i + 4 <= width; i += 4) {
    s0 += a[at + i]! * b[bt + i]!;
    s1 += a[at + i + 1]! * b[bt + i + 1]!;
    s2 += a[at + i + 2]! * b[bt + i + 2]!;
    s3 += a[at + i + 3]! * b[bt + i + 3]!;
  }
  for (; i < width; i++) s0 += a[at + i]! * b[bt + i]!;
  return s0 + s1 + s2 + s3;
}

/** Turns logits[at … at + count) into softmax weights in place; −∞ gives 0, all −∞ gives zeros. */
export function softmaxInPlace(logits: Float64Array, at: number, count: number): void {
  const end = at + count;
  let max = Number.NEGATIVE_INFINITY;
  for (let j = at; j < end; j++) if (logits[j]! > max) max = logits[j]!;
  if (max === Number.NEGATIVE_INFINITY) {
    logits.fill(0, at, end);
    return;
  }
  let total = 0;
  for (let j = at; j < end; j++) {
    const weight = Math.exp(logits[j]! - max);
    logits[j] = weight;
    total += weight;
  }
  const factor = 1 / total;
  for (let j = at; j < end; j++) logits[j] = logits[j]! * factor;
}
