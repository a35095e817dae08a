// Masks of a chunk of queries over the slots of a row, f32 [tokens, visible]. The row's last `tokens`
// visible slots are the queries' own; slots stand in any order of positions.

/** Masks [tokens, visible] in which token t sees all but the last tokens − 1 − t; remade rarely. */
export function cachedCausalMask() {
  let last = { tokens: 0, visible: 0, mask: new Float32Array(0) };
  return (tokens: number, visible: number): Float32Array => {
    if (last.tokens !== tokens || last.visible !== visible) {
      const mask = new Float32Array(tokens * visible);
      for (let t = 0; t < tokens; t++)
        mask.fill(
          Number.NEGATIVE_INFINITY,
          (t + 1) * visible - (tokens - 1 - t),
          (t + 1) * visible,
        );
      last = { tokens, visible, mask };
    }
    return last.mask;
  };
}

/** The causal mask without keys at positions ≤ p − window. */
export function slidingMask(own: Int32Array, seen: Int32Array, window: number): Float32Array {
  const [tokens, visible] = [own.length, seen.length];
  const mask = new Float32Array(tokens * visible);
  for (let t = 0; t < tokens; t++) {
    const reach = visible - (tokens - 1 - t);
    const oldest = own[t]! - window + 1;
    for (let j = 0; j < reach; j++)
      if (seen[j]! < oldest) mask[t * visible + j] = Number.NEGATIVE_INFINITY;
    mask.fill(Number.NEGATIVE_INFINITY, t * visible + reach, (t + 1) * visible);
  }
  return mask;
}

/** 1 where a query is at least `buffer` positions after the key. */
export function countedBeyond(own: Int32Array, seen: Int32Array, buffer: number): Float32Array {
  const counted = new Float32Array(own.length * seen.length);
  for (let t = 0; t < own.length; t++) {
    const newest = own[t]! - buffer;
    for (let j = 0; j < seen.length; j++) if (seen[j]! <= newest) counted[t * seen.length + j] = 1;
  }
  return counted;
}
