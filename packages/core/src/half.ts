/**
 * IEEE 754 binary16 in Uint16Array, for hosts without Float16Array. Conversions are exact:
 * halves → floats loses nothing, floats → halves rounds to nearest, ties to even.
 */

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

/** Bits of the half nearest to a float32 given by its bits. */
function roundToHalf(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x3ff);
  // 65520 lies halfway between the largest half and the next power of two, and ties go up there.
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) {
    const rebased = magnitude - 0x38000000;
    return sign | ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13);
  }
  // Below 2^-14 halves are multiples of 2^-24, the spacing of float32 above 0.5: the addition rounds.
  word[0] = magnitude;
  float[0] = float[0]! + 0.5;
  return sign | (word[0]! - 0x3f000000);
}

/** Bits of the float32 that equals a half. */
function widen(half: number): number {
  const sign = (half & 0x8000) << 16;
  const magnitude = half & 0x7fff;
  if (magnitude >= 0x7c00) return sign | 0x7f800000 | ((magnitude & 0x3ff) << 13);
  if (magnitude >= 0x0400) return sign | ((magnitude << 13) + 0x38000000);
  float[0] = magnitude * 2 ** -24;
  return sign | word[0]!;
}

/** Bits of the half nearest to `x`, which is read as a float32. NaN stays NaN, ±65520 and beyond ±∞. */
export function floatToHalf(x: number): number {
  float[0] = x;
  return roundToHalf(word[0]!);
}

/** The number that the half `bits` stands for. */
export function halfToFloat(bits: number): number {
  word[0] = widen(bits);
  return float[0]!;
}

/** Converts src [n] into dst [≥ n]. */
export function halvesToFloats(src: Uint16Array, dst: Float32Array): void {
  const words = new Uint32Array(dst.buffer, dst.byteOffset, dst.length);
  for (let i = 0; i < src.length; i++) words[i] = widen(src[i]!);
}

/** Converts src [n] into dst [≥ n], rounding to nearest even. */
export function floatsToHalves(src: Float32Array, dst: Uint16Array): void {
  const words = new Uint32Array(src.buffer, src.byteOffset, src.length);
  for (let i = 0; i < src.length; i++) dst[i] = roundToHalf(words[i]!);
}
