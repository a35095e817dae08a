export { type AddWgslParams, addWgsl } from "../ops/add/add.wgsl.ts";
export * from "../ops/add-sums/add-sums.ts";
export * from "../ops/attention-spread/attention-spread.ts";
export * from "../ops/average-queries/average-queries.ts";
export * from "../ops/blended-counts/blended-counts.ts";
export * from "../ops/blended-counts/pyramid-base.ts";
export * from "../ops/block-bounds/block-bounds.ts";
export * from "../ops/block-schedule/block-schedule.ts";
export * from "../ops/block-schedule/blocks-to-evict.ts";
export * from "../ops/capacity-score/capacity-score.ts";
export * from "../ops/chunk-attention/chunk-attention.ts";
export * from "../ops/chunk-attention/received-score.ts";
export * from "../ops/chunk-shares/chunk-shares.ts";
export * from "../ops/compact/compact.ts";
export { type CompactWgslParams, compactWgsl } from "../ops/compact/compact.wgsl.ts";
export * from "../ops/composite-counts/composite-counts.ts";
export * from "../ops/copy-layers/copy-layers.ts";
export * from "../ops/critical-score/critical-score.ts";
export * from "../ops/curve-counts/curve-counts.ts";
export * from "../ops/defensive-score/defensive-score.ts";
export * from "../ops/distance-mass/distance-mass.ts";
export * from "../ops/distance-rank/distance-rank.ts";
export * from "../ops/distance-rank/heat-order.ts";
export * from "../ops/draw-tokens/draw-tokens.ts";
export * from "../ops/duo-head-scores/duo-head-scores.ts";
export { type EmbedWgslParams, embedWgsl } from "../ops/embed/embed.wgsl.ts";
export * from "../ops/entropy-counts/entropy-counts.ts";
export {
  type GatedActivationWgslParams,
  gatedActivationWgsl,
} from "../ops/gated-activation/gated-activation.wgsl.ts";
export { type GatherWgslParams, gatherWgsl } from "../ops/gather/gather.wgsl.ts";
export * from "../ops/gaussian-attention/gaussian-attention.ts";
export * from "../ops/global-top-counts/global-top-counts.ts";
export * from "../ops/global-top-counts/scope-tokens.ts";
export * from "../ops/gumbel-scores/gumbel-scores.ts";
export * from "../ops/halting-metric/halting-counts.ts";
export * from "../ops/head-capacities/head-capacities.ts";
export * from "../ops/head-means/head-means.ts";
export * from "../ops/heat-schedule/heat-schedule.ts";
export * from "../ops/key-diff/key-diff.ts";
export * from "../ops/key-diff/key-diff-set.ts";
export * from "../ops/key-leverage/key-leverage.ts";
export * from "../ops/key-norm/key-norm.ts";
export * from "../ops/key-projection/key-projection.ts";
export * from "../ops/key-redundancy/key-redundancy.ts";
export * from "../ops/key-sums/key-sums.ts";
export * from "../ops/lag-counts/lag-counts.ts";
export * from "../ops/lag-rank/lag-rank.ts";
export { type LagSpreadParams, lagSpread } from "../ops/lag-spread/lag-spread.ts";
export * from "../ops/layer-chunks/batch-positions.ts";
export * from "../ops/layer-chunks/chunk-counts.ts";
export * from "../ops/layer-chunks/select-chunks.ts";
export * from "../ops/layer-share-counts/capped-shares.ts";
export * from "../ops/layer-share-counts/layer-share-counts.ts";
export * from "../ops/layer-share-counts/shared-total.ts";
export * from "../ops/lazy-layers/lazy-layers.ts";
export * from "../ops/level-counts/level-counts.ts";
export {
  type LikeliestWgslParams,
  likeliestPartWords,
  likeliestWgsl,
} from "../ops/likeliest/likeliest.wgsl.ts";
export { type LinearWgslParams, linearWgsl } from "../ops/linear/linear.wgsl.ts";
export type { StoredMatrix } from "../ops/linear/weight-chunks.wgsl.ts";
export * from "../ops/linear-rows/gelu.ts";
export * from "../ops/linear-rows/linear-rows.ts";
export { type LogitsWgslParams, logitsWgsl } from "../ops/logits/logits.wgsl.ts";
export * from "../ops/merge-forward/merge-forward.ts";
export * from "../ops/merge-values/merge-values.ts";
export * from "../ops/minimum-budget/layer-means.ts";
export * from "../ops/minimum-budget/minimum-budget.ts";
export * from "../ops/minimum-budget/output-budget.ts";
export * from "../ops/minimum-budget/query-head-budget.ts";
export { type NearestKeptParams, nearestKept } from "../ops/nearest-kept/nearest-kept.ts";
export * from "../ops/needle-attention/needle-attention.ts";
export * from "../ops/norm-shares/norm-shares.ts";
export * from "../ops/output-norms/output-norms.ts";
export {
  type DeviceAttention,
  maxHeadDim,
  type StepSections,
  vectorTile,
} from "../ops/paged-attention/device-attention.ts";
export { mostSplits } from "../ops/paged-attention/merge-splits.wgsl.ts";
export * from "../ops/paged-attention/paged-attention.ts";
export { pagedAttentionWgsl } from "../ops/paged-attention/paged-attention.wgsl.ts";
export * from "../ops/part-batch/part-batch.ts";
export * from "../ops/part-batch/score-part.ts";
export * from "../ops/pooled-counts/above-rank-counts.ts";
export * from "../ops/pooled-counts/pooled-counts.ts";
export * from "../ops/pooled-counts/whole-head-counts.ts";
export * from "../ops/position-score/position-score.ts";
export * from "../ops/prefix-sum/prefix-sum.ts";
export * from "../ops/profile-counts/profile-counts.ts";
export * from "../ops/profile-counts/profile-shares.ts";
export * from "../ops/projected-value-norm/projected-value-norm.ts";
export * from "../ops/protect-scores/protect-scores.ts";
export * from "../ops/pyramid-counts/layer-shares.ts";
export * from "../ops/pyramid-counts/pyramid-counts.ts";
export * from "../ops/pyramid-counts/pyramid-schedule.ts";
export * from "../ops/query-attention/query-attention.ts";
export * from "../ops/query-moments/query-moments.ts";
export * from "../ops/raise-recent/raise-recent.ts";
export * from "../ops/random-score/random-score.ts";
export * from "../ops/read-sums/read-sums.ts";
export * from "../ops/rerotate-keys/rerotate-keys.ts";
export * from "../ops/reserved-counts/reserved-counts.ts";
export * from "../ops/retention-gate/retention-gate.ts";
export * from "../ops/review-window-counts/group-budgets.ts";
export * from "../ops/review-window-counts/review-window-counts.ts";
export * from "../ops/review-windows/leading-layers.ts";
export * from "../ops/review-windows/review-windows.ts";
export { type RmsNormWgslParams, rmsNormWgsl } from "../ops/rms-norm/rms-norm.wgsl.ts";
export * from "../ops/rope/rope.ts";
export { type RopeWgslParams, ropeWgsl } from "../ops/rope/rope.wgsl.ts";
export * from "../ops/row-counts/row-counts.ts";
export * from "../ops/scale-sums/scale-sums.ts";
export * from "../ops/select-blockwise/key-set.ts";
export * from "../ops/select-blockwise/select-blockwise.ts";
export * from "../ops/spread-counts/preference.ts";
export * from "../ops/spread-counts/preferred-budgets.ts";
export * from "../ops/spread-counts/spread-counts.ts";
export * from "../ops/spread-score/spread-score.ts";
export * from "../ops/streaming-heads/streaming-heads.ts";
export * from "../ops/threshold-counts/threshold-counts.ts";
export * from "../ops/top-k/top-k.ts";
export * from "../ops/uniform-counts/even-share.ts";
export * from "../ops/uniform-counts/uniform-counts.ts";
export * from "../ops/value-bound/value-bound.ts";
export * from "../ops/window-importance/window-importance.ts";
export * from "../ops/window-score/window-score.ts";

export * from "../ops/window-sums/window-sums.ts";
export { type BatchRow, forEachRow, hostOf } from "./batch-rows.ts";
export { choleskyInPlace, solveLower, solveUpper } from "./cholesky.ts";
export { createHostEncoder, type HostEncoderOptions } from "./host-encoder.ts";
export { type Pooling, pool } from "./pooling.ts";
export { countBelow, positionOrder } from "./position-order.ts";
export { type QuadDtype, quadCode, quadType, unrolled } from "./quads.ts";
export { type QuantisedRows, quantisationBlock, quantiseRows } from "./quantise-rows.ts";
export { dotRows, type Matrix } from "./row-math.ts";
export {
  gatherKeys,
  gatherPositions,
  gatherValues,
  type RowView,
  rowView,
  slotOf,
} from "./row-view.ts";
export { type ScatterWordsParams, scatterWordsWgsl } from "./scatter-words.wgsl.ts";
export { forEachCode, workgroupsFor } from "./wgsl-thread.ts";
export { largestRemainder, roundHalfEven, type ShareLimits } from "./whole-numbers.ts";
