import { defineKernel, hostArray, type KvBatch, KvCacheError, type Tensor } from "@kvcache/core";

/** One number for every position of every row (layer × KV head) of a sequence. */
export interface PositionTable {
  /** Room for positions [from, to) of a row: a view to be written. */
  range(row: number, from: number, to: number): Float32Array;
  /** NaN where nothing was written. */
  read(row: number, position: number): number;
  /** Forgets positions ≥ `position`. */
  forget(position: number): void;
  clone(): PositionTable;
}

export const positionTable = (numRows: number): PositionTable =>
  tableOf(Array.from({ length: numRows }, () => new Float32Array(0)));

function tableOf(rows: Float32Array[]): PositionTable {
  return {
    range(row, from, to) {
      const numbers = rows[row]!;
      if (numbers.length < to) {
        const roomy = new Float32Array(Math.max(64, 2 * to)).fill(Number.NaN);
        roomy.set(numbers);
        rows[row] = roomy;
      }
      return rows[row]!.subarray(from, to);
    },
    read: (row, position) => rows[row]![position] ?? Number.NaN,
    forget(position) {
      for (const numbers of rows) numbers.fill(Number.NaN, position);
    },
    clone: () => tableOf(rows.map((numbers) => numbers.slice())),
  };
}

/** The number of a cached token. Throws `missing-signal` where its forward pass was not observed. */
export function readObserved(
  table: PositionTable,
  { shape }: KvBatch,
  layer: number,
  head: number,
  position: number,
): number {
  const value = table.read(layer * shape.numKvHeads + head, position);
  if (Number.isNaN(value))
    throw new KvCacheError(
      "missing-signal",
      `The token at position ${position} was cached without being observed.`,
      { value: position, remedy: "Prefill the whole prompt under this policy." },
    );
  return value;
}

/** Rows [outs.length, n] of a tensor, each to a tensor of its own. */
export const splitRows = defineKernel<{ readonly rows: Tensor; readonly outs: readonly Tensor[] }>({
  name: "split-rows",
  reference({ rows, outs }) {
    const from = hostArray(rows, "f32");
    outs.forEach((tensor, i) => {
      const out = hostArray(tensor, "f32");
      out.set(from.subarray(i * out.length, (i + 1) * out.length));
    });
  },
});
