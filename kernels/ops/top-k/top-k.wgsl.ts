import type { WgslKernel } from "@kvcache/core";
import { unrolled } from "../../src/quads.ts";
import { sortKeyCode } from "../../src/sort-key.wgsl.ts";
import { scanCode } from "../../src/workgroup-scan.wgsl.ts";
import type { TopKParams } from "./top-k.ts";

const lanes = 256;
/** Copies of the bins, so that few lanes add to the same one: scores have few different exponents. */
const copies = 8;
/** Quads of scores that a lane loads before it looks at any of them. */
const loads = 4;

/** WGSL: the lane's quads from `q` on, some at a time: `body` knows an element `e` and its `key`. */
const eachScore = (step: string, end: string, body: string) => /* wgsl */ `
    for (; q < ${end}; q += ${loads}u * ${step}) {
      ${unrolled(loads, (n) => `let quad${n} = scores[min(q + ${n}u * ${step}, lastQuad)];`)}
      ${unrolled(
        loads,
        (n) => /* wgsl */ `if (q + ${n}u * ${step} < ${end}) {
        for (var x = 0u; x < 4u; x++) {
          let e = 4u * (q + ${n}u * ${step}) + x;
          if (e >= begin && e < end) {
            let key = sortKey(quad${n}[x]);
            ${body}
          }
        }
      }`,
      )}
    }`;

/**
 * A workgroup per row. Four passes find the key of the count-th highest score, a byte at a time;
 * then each thread writes the kept slots of a run of the row, behind those of the runs before.
 * Scores are read four at a time, those of neighbouring rows left out.
 */
const code = (higherSlot: boolean) => /* wgsl */ `
${sortKeyCode}
${scanCode(lanes)}
var<workgroup> bins: array<atomic<u32>, ${lanes * copies}>;
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
  let end = rowIndptr[row + 1u];
  let length = end - begin;
  let count = min(counts[row], length);
  if (count == 0u) { return; }
  let firstQuad = begin / 4u;
  let endQuad = (end + 3u) / 4u;
  let lastQuad = endQuad - 1u;
  let copy = lane % ${copies}u;

  var prefix = 0u;
  var wanted = count;
  for (var shift = 24; shift >= 0; shift -= 8) {
    for (var n = 0u; n < ${copies}u; n++) { atomicStore(&bins[n * ${lanes}u + lane], 0u); }
    workgroupBarrier();
    var q = firstQuad + lane;
    ${eachScore(
      `${lanes}u`,
      "endQuad",
      /* wgsl */ `let above = select(key >> (u32(shift + 8) & 31u), 0u, shift == 24);
          if (above == prefix) { atomicAdd(&bins[((key >> u32(shift)) & 255u) * ${copies}u + copy], 1u); }`,
    )}
    workgroupBarrier();
    // Lanes count from the highest byte down.
    var own = 0u;
    for (var n = 0u; n < ${copies}u; n++) { own += atomicLoad(&bins[(${lanes - 1}u - lane) * ${copies}u + n]); }
    let before = sumBefore(lane, own);
    if (before < wanted && wanted <= before + own) {
      found[0] = ${lanes - 1}u - lane;
      found[1] = wanted - before;
    }
    workgroupBarrier();
    prefix = (prefix << 8u) | found[0];
    wanted = found[1];
  }
  // prefix is the key of the lowest kept score, and so many as wanted says of the slots that tie with it are kept.
  let run = (endQuad - firstQuad + ${lanes - 1}u) / ${lanes}u;
  let first = min(firstQuad + lane * run, endQuad);
  let endRun = min(first + run, endQuad);
  var above = 0u;
  var tied = 0u;
  var q = first;
  ${eachScore("1u", "endRun", "above += u32(key > prefix); tied += u32(key == prefix);")}
  let tiedBefore = sumBefore(lane, tied);
  let skip = ${higherSlot ? "sumOfAll() - wanted" : "0u"};
  let stop = skip + wanted;
  let kept = above + clamp(tiedBefore + tied, skip, stop) - clamp(tiedBefore, skip, stop);
  var goal = indptr[row] + sumBefore(lane, kept);
  var seen = tiedBefore;
  q = first;
  ${eachScore(
    "1u",
    "endRun",
    /* wgsl */ `let ties = key == prefix;
          if (key > prefix || (ties && seen >= skip && seen < stop)) {
            indices[goal] = e - begin;
            goal++;
          }
          seen += u32(ties);`,
  )}
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
        scores: { buffer: params.scores, type: "vec4f" },
        counts: { buffer: params.counts, type: "u32" },
        indptr: { buffer: params.indptr, type: "u32" },
      },
      writes: { indices: { buffer: params.indices, type: "u32" } },
      workgroups: numRows,
    });
  },
};
