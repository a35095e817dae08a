/** A growing list of pairs of int32. */
export interface PairList {
  /** Numbers, two a pair. */
  readonly length: number;
  push(a: number, b: number): void;
  /** The pairs pushed so far, flat; valid until the next push. */
  view(): Int32Array;
}

export function createPairList(): PairList {
  let data = new Int32Array(64);
  let length = 0;
  return {
    get length() {
      return length;
    },
    push(a, b) {
      if (length === data.length) {
        const grown = new Int32Array(2 * length);
        grown.set(data);
        data = grown;
      }
      data[length++] = a;
      data[length++] = b;
    },
    view: () => data.subarray(0, length),
  };
}
