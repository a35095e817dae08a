import type { WgslKernel } from "@kvcache/core";
import { scanCode } from "../../src/workgroup-scan.wgsl.ts";
import type { PrefixSumParams } from "./prefix-sum.ts";

const lanes = 128;

/** One workgroup: each thread sums a run of counts, the sums are scanned, the runs written. */
const code = /* wgsl */ `
${scanCode(lanes)}
@compute @workgroup_size(${lanes})
fn main(@builtin(local_invocation_index) lane: u32) {
  let run = (params.count + ${lanes - 1}u) / ${lanes}u;
  let first = min(lane * run, params.count);
  let end = min(first + run, params.count);
  var total = 0u;
  for (var i = first; i < end; i++) { total += counts[i]; }
  var at = sumBefore(lane, total);
  for (var i = first; i < end; i++) {
    out[i] = at;
    at += counts[i];
  }
  if (lane == ${lanes - 1}u) { out[params.count] = at; }
}
`;

export const prefixSumWgsl: WgslKernel<PrefixSumParams> = {
  // The reference throws on a wrong length.
  supports: ({ counts, out }) => out.length === counts.length + 1,
  record({ counts, out }, recorder) {
    recorder.dispatch({
      name: "prefix-sum",
      code,
      u32: { count: counts.length },
      reads: { counts: { buffer: counts, type: "u32" } },
      writes: { out: { buffer: out, type: "u32" } },
      workgroups: 1,
    });
  },
};
