/**
 * Ids of all values that are at least the k-th largest, unordered: more than k where values tie with
 * it, fewer where fewer are above −∞. O(n log k) with a min-heap of values.
 */
export function atLeastKth(values: Float64Array, k: number): number[] {
  const heap = new Float64Array(k).fill(Number.NEGATIVE_INFINITY);
  for (const value of values) {
    if (value <= heap[0]!) continue;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= k) break;
      if (child + 1 < k && heap[child + 1]! < heap[child]!) child++;
      if (heap[child]! >= value) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = value;
  }
  const ids: number[] = [];
  for (let id = 0; id < values.length; id++)
    if (values[id]! >= heap[0]! && values[id]! > Number.NEGATIVE_INFINITY) ids.push(id);
  return ids;
}

/** Id of the largest value; the lowest id among equals. NaN is never the largest. */
export function likeliest(values: ArrayLike<number>): number {
  let best = 0;
  let max = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < values.length; id++)
    if (values[id]! > max) {
      max = values[id]!;
      best = id;
    }
  return best;
}
