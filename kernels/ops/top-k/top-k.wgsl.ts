import type { WgslKernel } from "@kvcache/core";
import { sortKeyCode } from "../../src/sort-key.wgsl.ts";
import { scanCode } from "../../src/workgroup-scan.wgsl.ts";
import type { TopKParams } from "./top-k.ts";

const lanes = 256;

/**
 * A workgroup per row. Four passes find the key of the count-th highest score, a byte at a time;
 * then each thread writes the kept slots of a run of the row, behind those of the runs before.
 */
const code = (higherSlot: boolean) => /* wgsl */ `
${sortKeyCode}
${scanCode(lanes)}
var<workgroup> bins: array<atomic<u32>, ${lanes}>;
var<workgroup> found: array<u32, 2>;

@compute @workgroup_size(${lanes})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = workgroupIndex(id, groups);
  if (row >= params.numRows) { return; }
  let begin = rowIndptr[row];
  let length = rowIndptr[row + 1u] - begin;
  let count = min(counts[row], length);
  if (count == 0u) { return; }

  var prefix = 0u;
  var wanted = count;
  for (var shift = 24; shift >= 0; shift -= 8) {
    atomicStore(&bins[lane], 0u);
    workgroupBarrier();
    for (var j = lane; j < length; j += ${lanes}u) {
      let key = sortKey(scores[begin + j]);
      let above = select(key >> (u32(shift + 8) & 31u), 0u, shift == 24);
      if (above == prefix) { atomicAdd(&bins[(key >> u32(shift)) & 255u], 1u); }
    }
    workgroupBarrier();
    // Lanes count from the highest byte down.
    let own = atomicLoad(&bins[${lanes - 1}u - lane]);
    let before = sumBefore(lane, own);
    if (before < wanted && wanted <= before + own) {
      found[0] = ${lanes - 1}u - lane;
      found[1] = wanted - before;
    }
    workgroupBarrier();
    prefix = (prefix << 8u) | found[0];
    wanted = found[1];
  }
  // prefix is the key of the lowest kept score; \`wanted\` of the slots that tie with it are kept.
  let run = (length + ${lanes - 1}u) / ${lanes}u;
  let first = min(lane * run, length);
  let end = min(first + run, length);
  var above = 0u;
  var tied = 0u;
  for (var j = first; j < end; j++) {
    let key = sortKey(scores[begin + j]);
    above += u32(key > prefix);
    tied += u32(key == prefix);
  }
  let tiedBefore = sumBefore(lane, tied);
  let skip = ${higherSlot ? "sumOfAll() - wanted" : "0u"};
  let stop = skip + wanted;
  let kept = above + clamp(tiedBefore + tied, skip, stop) - clamp(tiedBefore, skip, stop);
  var at = indptr[row] + sumBefore(lane, kept);
  var seen = tiedBefore;
  for (var j = first; j < end; j++) {
    let key = sortKey(scores[begin + j]);
    let ties = key == prefix;
    if (key > prefix || (ties && seen >= skip && seen < stop)) {
      indices[at] = j;
      at++;
    }
    seen += u32(ties);
  }
}
`;

const variants = { "lower-slot": code(false), "higher-slot": code(true) } as const;

/**
 * On a device nobody can throw: a count above the row's length keeps the whole row, and NaN stands
 * above +∞ or below −∞ by its sign.
 */
export const topKWgsl: WgslKernel<TopKParams> = {
  record({ tieRule = "lower-slot", ...params }, recorder) {
    const numRows = params.counts.length;
    recorder.dispatch({
      name: "top-k",
      code: variants[tieRule],
      u32: { numRows },
      reads: {
        rowIndptr: { buffer: params.rowIndptr, type: "u32" },
        scores: { buffer: params.scores, type: "f32" },
        counts: { buffer: params.counts, type: "u32" },
        indptr: { buffer: params.indptr, type: "u32" },
      },
      writes: { indices: { buffer: params.indices, type: "u32" } },
      workgroups: numRows,
    });
  },
};
