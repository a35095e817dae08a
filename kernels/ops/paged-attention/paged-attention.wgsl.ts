import { signalFlag, type WgslDispatch } from "@kvcache/core";
import { addAttentionWgsl } from "./add-attention.wgsl.ts";
import { attendWgsl } from "./attend.wgsl.ts";
import type { DeviceAttention } from "./device-attention.ts";
import { keepQueriesWgsl } from "./keep-queries.wgsl.ts";
import { mergeSplitsWgsl } from "./merge-splits.wgsl.ts";
import { writeEntriesWgsl } from "./write-entries.wgsl.ts";

const sums = signalFlag.sumAttention | signalFlag.sumSquaredAttention;

/**
 * The kernel `paged-attention` on a device: its dispatches in order. `signalFlags` are the flags of
 * all sequences together, `longestRow` the most tokens that a row of the step has.
 */
export function pagedAttentionWgsl(
  params: DeviceAttention,
  signalFlags: number,
  longestRow: number,
): readonly WgslDispatch[] {
  const keepQueries = (signalFlags & signalFlag.windowQueries) !== 0 && params.windowSize > 0;
  return [
    ...(params.owner ? [writeEntriesWgsl(params)] : []),
    ...(keepQueries ? [keepQueriesWgsl(params)] : []),
    attendWgsl(params),
    mergeSplitsWgsl(params),
    ...((signalFlags & sums) !== 0 ? [addAttentionWgsl(params, longestRow)] : []),
  ];
}
