/** Seeded choices: equal seeds, equal samples on every machine. */
export interface Random {
  /** [0, 1). */
  next(): number;
  /** An integer in [from, to). */
  integer(from: number, to: number): number;
  pick<T>(values: readonly T[]): T;
  /** A new array in random order. */
  shuffled<T>(values: readonly T[]): T[];
}

/** mulberry32 over a hash (FNV-1a) of the seed's parts. */
export function createRandom(...seed: readonly (string | number)[]): Random {
  let state = 0x811c9dc5;
  for (const character of seed.join("\0"))
    state = Math.imul(state ^ character.codePointAt(0)!, 0x01000193) >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const integer = (from: number, to: number) => from + Math.floor(next() * (to - from));
  return {
    next,
    integer,
    pick: (values) => values[integer(0, values.length)]!,
    shuffled(values) {
      const out = [...values];
      for (let i = out.length - 1; i > 0; i--) {
        const j = integer(0, i + 1);
        [out[i], out[j]] = [out[j]!, out[i]!];
      }
      return out;
    },
  };
}
