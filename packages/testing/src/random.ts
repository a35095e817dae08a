/** Repeatable numbers in [0, 1) (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** f32 [length], close to a normal distribution of that standard deviation. */
export const randomFloats = (random: () => number, length: number, deviation = 1): Float32Array =>
  Float32Array.from({ length }, () => {
    const sum = random() + random() + random() + random() - 2;
    return sum * Math.sqrt(3) * deviation;
  });

/** A whole number in [from, to]. */
export const randomInteger = (random: () => number, from: number, to: number): number =>
  from + Math.floor(random() * (to - from + 1));

/** A random order of 0 … length − 1. */
export function randomOrder(random: () => number, length: number): Uint32Array {
  const order = Uint32Array.from({ length }, (_, i) => i);
  for (let i = length - 1; i > 0; i--) {
    const j = randomInteger(random, 0, i);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
