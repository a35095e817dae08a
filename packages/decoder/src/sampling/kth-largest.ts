/**
 * The k-th largest of `values`, 1 <= k <= values.length, in one pass: a min-heap holds the k
 * largest so far, and most values are only compared with its top.
 */
export function kthLargest(values: Float32Array, k: number): number {
  const heap = values.slice(0, k);
  for (let parent = (k >> 1) - 1; parent >= 0; parent--) sink(heap, parent);
  for (let i = k; i < values.length; i++) {
    if (values[i]! <= heap[0]!) continue;
    heap[0] = values[i]!;
    sink(heap, 0);
  }
  return heap[0]!;
}

function sink(heap: Float32Array, start: number): void {
  const value = heap[start]!;
  let parent = start;
  for (;;) {
    let child = 2 * parent + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && heap[child + 1]! < heap[child]!) child++;
    if (heap[child]! >= value) break;
    heap[parent] = heap[child]!;
    parent = child;
  }
  heap[parent] = value;
}
