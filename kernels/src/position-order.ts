/** Slots of a row by ascending position; undefined when they already are. */
export function positionOrder(positions: Int32Array): Uint32Array | undefined {
  let ascending = true;
  for (let j = 1; j < positions.length && ascending; j++)
    ascending = positions[j]! > positions[j - 1]!;
  if (ascending) return undefined;
  return Uint32Array.from(positions.keys()).sort((a, b) => positions[a]! - positions[b]!);
}

/** Entries of an ascending list that are below `limit`. */
export function countBelow(ascending: Int32Array, limit: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle]! < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
