import type { Tensor, WgslRecorder } from "@kvcache/core";
import { sortKeyCode } from "./sort-key.wgsl.ts";
import { forEachCode, workgroupsFor } from "./wgsl-thread.ts";
import { scanCode } from "./workgroup-scan.wgsl.ts";

const lanes = 256;
/** Numbers that a histogram leaves behind per row: those above all bins, then those up to each. */
const stride = lanes + 1;

/** A workgroup per row: scores whose key starts with the group's prefix, by the next byte. */
const histogramCode = (cheapest: boolean) => /* wgsl */ `
${sortKeyCode}
${scanCode(lanes)}
var<workgroup> bins: array<atomic<u32>, ${lanes}>;
var<workgroup> higher: atomic<u32>;

@compute @workgroup_size(${lanes})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = workgroupIndex(id, groups);
  if (row >= params.numRows) { return; }
  let prefix = prefixes[row / params.rowsPerGroup];
  let end = rowIndptr[row + 1u];
  for (var i = rowIndptr[row] + lane; i < end; i += ${lanes}u) {
    let key = ${cheapest ? "~" : ""}sortKey(scores[i]);
    let above = select(key >> ((params.shift + 8u) & 31u), 0u, params.shift == 24u);
    if (above == prefix) { atomicAdd(&bins[(key >> params.shift) & 255u], 1u); }
    if (above > prefix) { atomicAdd(&higher, 1u); }
  }
  workgroupBarrier();
  // Lanes count from the highest byte down.
  let own = atomicLoad(&bins[${lanes - 1}u - lane]);
  let upTo = atomicLoad(&higher) + sumBefore(lane, own) + own;
  histograms[row * ${stride}u + 1u + lane] = upTo;
  if (lane == 0u) { histograms[row * ${stride}u] = atomicLoad(&higher); }
}
`;

/** A workgroup per group: the first byte, from the highest down, at which enough is handed out. */
const pickCode = (share: string) => /* wgsl */ `
${share}
var<workgroup> totals: array<u32, ${lanes}>;

@compute @workgroup_size(${lanes})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let group = workgroupIndex(id, groups);
  if (group >= params.numGroups) { return; }
  let first = group * params.rowsPerGroup;
  var total = 0u;
  for (var row = first; row < first + params.rowsPerGroup; row++) {
    total += share(row, histograms[row * ${stride}u + 1u + lane]);
  }
  totals[lane] = total;
  workgroupBarrier();
  let enough = total >= wanted[group] || lane == ${lanes - 1}u;
  var before = false;
  if (lane > 0u) { before = totals[lane - 1u] >= wanted[group]; }
  if (enough && !before) {
    prefixes[group] = (prefixes[group] << 8u) | (${lanes - 1}u - lane);
  }
}
`;

/** A thread per group: what lies above the threshold, then what lies on it, by rows. */
const dealCode = (share: string) =>
  share +
  forEachCode(/* wgsl */ `
  let first = i * params.rowsPerGroup;
  let bin = 255u - (prefixes[i] & 255u);
  var left = wanted[i];
  for (var row = first; row < first + params.rowsPerGroup; row++) {
    let own = share(row, histograms[row * ${stride}u + bin]);
    shares[row] = own;
    left -= min(left, own);
  }
  for (var row = first; row < first + params.rowsPerGroup; row++) {
    let most = share(row, histograms[row * ${stride}u + 1u + bin]);
    let more = min(left, most - shares[row]);
    shares[row] += more;
    left -= more;
  }
`);

export interface Division {
  /** u32 [numRows + 1]. */
  readonly rowIndptr: Tensor;
  /** f32, by slot. */
  readonly scores: Tensor;
  readonly numRows: number;
  /** Neighbouring rows that share. */
  readonly rowsPerGroup: number;
  /** u32 [numRows / rowsPerGroup]: what the rows of a group get together. */
  readonly wanted: Tensor;
  /**
   * WGSL: `fn share(row: u32, count: u32) -> u32`, what a row gets if its best `count` scores win; it
   * never falls with the count, and reads `limits`.
   */
  readonly share: string;
  /** u32, as `share` reads it. */
  readonly limits: Tensor;
  /** The lowest scores win. Default: the highest. */
  readonly cheapest?: boolean;
  /** u32 [numRows]: what each row gets. */
  readonly shares: Tensor;
}

/**
 * Deals a number out by one threshold on the scores of all rows of a group; what lies on it goes to
 * the earlier rows. The threshold's key is found byte by byte, so the result is exact.
 */
export function recordDivision(recorder: WgslRecorder, division: Division): void {
  const { rowIndptr, scores, numRows, rowsPerGroup, share, cheapest = false } = division;
  const numGroups = numRows / rowsPerGroup;
  const prefixes = { buffer: recorder.tensor("u32", numGroups), type: "u32" };
  const histograms = { buffer: recorder.tensor("u32", numRows * stride), type: "u32" };
  const wanted = { buffer: division.wanted, type: "u32" };
  const limits = { buffer: division.limits, type: "u32" };
  for (let shift = 24; shift >= 0; shift -= 8) {
    recorder.dispatch({
      name: "histogram of rows",
      code: histogramCode(cheapest),
      u32: { numRows, rowsPerGroup, shift },
      reads: {
        rowIndptr: { buffer: rowIndptr, type: "u32" },
        scores: { buffer: scores, type: "f32" },
        prefixes,
      },
      writes: { histograms },
      workgroups: numRows,
    });
    recorder.dispatch({
      name: "threshold of groups",
      code: pickCode(share),
      u32: { numGroups, rowsPerGroup },
      reads: { histograms, wanted, limits },
      writes: { prefixes },
      workgroups: numGroups,
    });
  }
  recorder.dispatch({
    name: "shares of rows",
    code: dealCode(share),
    u32: { count: numGroups, rowsPerGroup },
    reads: { histograms, prefixes, wanted, limits },
    writes: { shares: { buffer: division.shares, type: "u32" } },
    workgroups: workgroupsFor(numGroups),
  });
}

/** A row whose best `limits[row]` scores are spoken for. */
export const beyondLimit =
  "fn share(row: u32, count: u32) -> u32 { return count - min(count, limits[row]); }\n";
