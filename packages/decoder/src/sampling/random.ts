/** A source of uniform numbers in [0, 1). */
export type Random = () => number;

/**
 * A seeded source: the same seed gives the same numbers on every platform. xoshiro128** 1.1
 * (Blackman and Vigna 2018, arXiv:1805.01407), seeded through splitmix32; 53 random bits a number.
 * @param seed any safe integer
 */
export function createRandom(seed: number): Random {
  const nextSeed = splitmix32(seed);
  let [a, b, c, d] = [nextSeed(), nextSeed(), nextSeed(), nextSeed()];

  function next32(): number {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotate(d, 11);
    return result;
  }

  return () => ((next32() >>> 5) * 2 ** 26 + (next32() >>> 6)) / 2 ** 53;
}

/** Spreads a seed over 32-bit words; both halves of a seed beyond 2^32 count. */
function splitmix32(seed: number): () => number {
  let state = (seed ^ Math.imul(Math.floor(seed / 2 ** 32), 0x85ebca6b)) | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return mixed ^ (mixed >>> 16);
  };
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
