export interface MergeHeap {
  push(rank: number, position: number): void;
  /** Removes and returns the entry of lowest rank, the lowest position among equals. */
  pop(): { readonly rank: number; readonly position: number } | undefined;
}

/** Rank and position share one double, rank · 2^32 + position, so that they compare as one. */
const RANK = 2 ** 32;

/** A binary min-heap of pending merges. */
export function mergeHeap(): MergeHeap {
  const keys: number[] = [];

  return {
    push(rank, position) {
      let child = keys.length;
      const key = rank * RANK + position;
      keys.push(key);
      while (child > 0) {
        const parent = (child - 1) >> 1;
        if (keys[parent]! <= key) break;
        keys[child] = keys[parent]!;
        child = parent;
      }
      keys[child] = key;
    },

    pop() {
      const top = keys[0];
      if (top === undefined) return undefined;
      const key = keys.pop()!;
      const size = keys.length;
      if (size > 0) {
        let parent = 0;
        for (let child = 1; child < size; child = 2 * parent + 1) {
          if (child + 1 < size && keys[child + 1]! < keys[child]!) child++;
          if (keys[child]! >= key) break;
          keys[parent] = keys[child]!;
          parent = child;
        }
        keys[parent] = key;
      }
      return { rank: Math.floor(top / RANK), position: top % RANK };
    },
  };
}
