import { KvCacheError } from "@kvcache/core";

/** Rows of a sequence's last tokens, per layer: f32 [end − start, width], oldest first. */
export interface RowTail {
  /** Position of the first row, and the one behind the last. */
  readonly start: number;
  readonly end: number;
  /**
   * Adds rows from position `first` on; what stood there is replaced. Throws `missing-signal` when
   * tokens before it were never seen.
   */
  append(first: number, count: number, read: (layer: number) => Float32Array): void;
  /** Copies rows [from, to), counted from the first, of a layer. */
  rows(layer: number, from: number, to: number): Float32Array;
  /** Forgets the first `count` rows. */
  drop(count: number): void;
  /** Forgets positions ≥ `position`. */
  truncate(position: number): void;
  clone(): RowTail;
}

interface State {
  start: number;
  end: number;
  layers: Float32Array[];
}

export const rowTail = (numLayers: number, width: number): RowTail =>
  tailOf(
    {
      start: 0,
      end: 0,
      layers: Array.from({ length: numLayers }, () => new Float32Array(0)),
    },
    width,
  );

function tailOf(state: State, width: number): RowTail {
  const truncate = (position: number) => {
    state.end = Math.min(state.end, position);
    state.start = Math.min(state.start, position);
  };
  return {
    get start() {
      return state.start;
    },
    get end() {
      return state.end;
    },
    append(first, count, read) {
      if (first > state.end)
        throw new KvCacheError(
          "missing-signal",
          `Tokens ${state.end} to ${first - 1} were cached without being observed.`,
          { value: first, remedy: "Prefill the whole prompt under this policy." },
        );
      truncate(first);
      const kept = (first - state.start) * width;
      const needed = kept + count * width;
      state.layers = state.layers.map((rows, layer) => {
        const roomy = rows.length >= needed ? rows : new Float32Array(2 * needed);
        if (roomy !== rows) roomy.set(rows.subarray(0, kept));
        roomy.set(read(layer).subarray(0, count * width), kept);
        return roomy;
      });
      state.end = first + count;
    },
    rows: (layer, from, to) => state.layers[layer]!.slice(from * width, to * width),
    drop(count) {
      const kept = (state.end - state.start) * width;
      for (const rows of state.layers) rows.copyWithin(0, count * width, kept);
      state.start += count;
    },
    truncate,
    clone: () => tailOf({ ...state, layers: state.layers.map((rows) => rows.slice()) }, width),
  };
}
