/**
 * A copy of logits [vocabSize] with −Infinity wherever a token may not come: where its bit in
 * `allowed` (u32 [⌈vocabSize / 32⌉], bit `id % 32` of word `id / 32`) is clear, or where it is banned.
 */
export function maskLogits(
  logits: Float32Array,
  allowed: Uint32Array | undefined,
  banned: Iterable<number> = [],
): Float32Array {
  const out = logits.slice();
  if (allowed)
    for (let id = 0; id < out.length; id++)
      if (((allowed[id >> 5]! >> (id & 31)) & 1) === 0) out[id] = Number.NEGATIVE_INFINITY;
  for (const id of banned) if (id < out.length) out[id] = Number.NEGATIVE_INFINITY;
  return out;
}
