const size = 624;
const middle = 397;

/** Raw 32-bit outputs of MT19937, seeded as `init_genrand(seed)`. Matsumoto and Nishimura 1998. */
export function mersenneTwister(seed: number): () => number {
  const state = new Uint32Array(size);
  state[0] = seed;
  for (let i = 1; i < size; i++) {
    const before = state[i - 1]! ^ (state[i - 1]! >>> 30);
    state[i] = Math.imul(1_812_433_253, before) + i;
  }
  let next = size;

  function twist(): void {
    for (let i = 0; i < size; i++) {
      const mixed = (state[i]! & 0x80000000) | (state[(i + 1) % size]! & 0x7fffffff);
      const odd = mixed & 1 ? 0x9908b0df : 0;
      state[i] = state[(i + middle) % size]! ^ (mixed >>> 1) ^ odd;
    }
    next = 0;
  }

  return () => {
    if (next === size) twist();
    let bits = state[next++]!;
    bits ^= bits >>> 11;
    bits ^= (bits << 7) & 0x9d2c5680;
    bits ^= (bits << 15) & 0xefc60000;
    bits ^= bits >>> 18;
    return bits >>> 0;
  };
}
