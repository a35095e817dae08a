import { hostTensor, type WgslKernel } from "@kvcache/core";
import { recordDivision } from "../../src/divide-among-rows.wgsl.ts";
import { forEachCode, workgroupsFor } from "../../src/wgsl-thread.ts";
import { recordProtectedCounts } from "../uniform-counts/protected-counts.wgsl.ts";
import type { BlockScheduleParams } from "./block-schedule.ts";
import { commonBlockSize, wantedBlocks } from "./blocks-to-evict.ts";

/** Blocks that can go when a row's `count` cheapest slots do; limits: see below. */
const share = (blockSize: number) => /* wgsl */ `
fn share(row: u32, count: u32) -> u32 {
  return min(limits[2u * row], (count + ${blockSize}u - limits[2u * row + 1u]) / ${blockSize}u);
}
`;

/** Per row: the most blocks that can go, and the slots in the last block. */
const limitsCode = (blockSize: number) =>
  forEachCode(/* wgsl */ `
  let length = rowIndptr[i + 1u] - rowIndptr[i];
  let blocks = (length + ${blockSize - 1}u) / ${blockSize}u;
  let hanging = (length + ${blockSize - 1}u) % ${blockSize}u + 1u;
  let free = (length - isProtected[i] + ${blockSize}u - hanging) / ${blockSize}u;
  limits[2u * i] = min(free, max(blocks, 1u) - 1u);
  limits[2u * i + 1u] = hanging;
`);

const countsCode = (blockSize: number) =>
  forEachCode(/* wgsl */ `
  let length = rowIndptr[i + 1u] - rowIndptr[i];
  counts[i] = length;
  if (blocks[i] > 0u) { counts[i] -= (blocks[i] - 1u) * ${blockSize}u + limits[2u * i + 1u]; }
`);

export const blockScheduleWgsl: WgslKernel<BlockScheduleParams> = {
  supports: ({ batch }) => "data" in batch.rowIndptr,
  record(params, recorder) {
    const { batch, scores, counts } = params;
    const { numRows, layout, rowIndptr } = batch;
    const blockSize = commonBlockSize(layout);
    const rows = batch.layers.length * batch.shape.numKvHeads;
    const own = { buffer: rowIndptr, type: "u32" };
    const isProtected = recordProtectedCounts(recorder, batch, scores);
    const limits = recorder.tensor("u32", 2 * numRows);
    recorder.dispatch({
      name: "block-schedule, limits",
      code: limitsCode(blockSize),
      u32: { count: numRows },
      reads: { rowIndptr: own, isProtected: { buffer: isProtected, type: "u32" } },
      writes: { limits: { buffer: limits, type: "u32" } },
      workgroups: workgroupsFor(numRows),
    });
    const blocks = recorder.tensor("u32", numRows);
    recordDivision(recorder, {
      rowIndptr,
      scores,
      numRows,
      rowsPerGroup: rows,
      wanted: hostTensor(wantedBlocks(params)),
      share: share(blockSize),
      limits,
      cheapest: true,
      shares: blocks,
    });
    recorder.dispatch({
      name: "block-schedule",
      code: countsCode(blockSize),
      u32: { count: numRows },
      reads: {
        rowIndptr: own,
        limits: { buffer: limits, type: "u32" },
        blocks: { buffer: blocks, type: "u32" },
      },
      writes: { counts: { buffer: counts, type: "u32" } },
      workgroups: workgroupsFor(numRows),
    });
  },
};
