export * from "../ops/add-sums/add-sums.ts";
export * from "../ops/blended-counts/blended-counts.ts";
export * from "../ops/blended-counts/pyramid-base.ts";
export * from "../ops/block-schedule/block-schedule.ts";
export * from "../ops/block-schedule/blocks-to-evict.ts";
export * from "../ops/compact/compact.ts";
export * from "../ops/key-norm/key-norm.ts";
export * from "../ops/paged-attention/paged-attention.ts";
export * from "../ops/position-score/position-score.ts";
export * from "../ops/prefix-sum/prefix-sum.ts";
export * from "../ops/protect-scores/protect-scores.ts";
export * from "../ops/read-sums/read-sums.ts";
export * from "../ops/reserved-counts/reserved-counts.ts";
export * from "../ops/rope/rope.ts";
export * from "../ops/top-k/top-k.ts";
export * from "../ops/uniform-counts/even-share.ts";
export * from "../ops/uniform-counts/uniform-counts.ts";
export * from "../ops/window-score/window-score.ts";
export { type BatchRow, forEachRow } from "./batch-rows.ts";
export { createHostEncoder, type HostEncoderOptions } from "./host-encoder.ts";
export { type Pooling, pool } from "./pooling.ts";
export {
  gatherKeys,
  gatherPositions,
  gatherValues,
  type RowView,
  rowView,
  slotOf,
} from "./row-view.ts";
