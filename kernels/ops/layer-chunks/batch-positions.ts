import { hostArray, type KvBatch } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { gatherPositions } from "../../src/row-view.ts";

/** Position of every slot, [totalSlots]. Where no cache stands behind a batch, slot j is at j. */
export function batchPositions(batch: KvBatch): Int32Array {
  const positions = new Int32Array(batch.totalSlots);
  if (batch.host) {
    forEachRow(batch, ({ view, begin, end }) => {
      gatherPositions(view, positions.subarray(begin, end));
    });
    return positions;
  }
  const indptr = hostArray(batch.rowIndptr, "u32");
  for (let row = 0; row < batch.numRows; row++)
    for (let slot = indptr[row]!; slot < indptr[row + 1]!; slot++)
      positions[slot] = slot - indptr[row]!;
  return positions;
}
