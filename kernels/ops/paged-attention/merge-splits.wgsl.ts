import type { WgslDispatch } from "@kvcache/core";
import type { DeviceAttention } from "./device-attention.ts";

const threads = 128;
/** Parts that a row can be cut into. */
export const mostSplits = 1024;

/** A workgroup per query vector: the parts' factors first, then a thread per quad of some parts. */
const code = (quads: number) => {
  const groups = Math.floor(threads / quads);
  return /* wgsl */ `
const lowest = -3.0e38;
var<workgroup> factors: array<f32, ${mostSplits}>;
var<workgroup> shared_: array<f32, ${threads}>;
var<workgroup> sums: array<vec4f, ${groups * quads}>;

@compute @workgroup_size(${threads})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let vector = workgroupIndex(id, groups);
  if (vector >= params.numVectors) { return; }
  let busy = min(params.numSplits, ${threads}u);
  var most = lowest;
  for (var s = lane; s < params.numSplits; s += ${threads}u) {
    most = max(most, partialStats[s * params.numVectors + vector].x);
  }
  shared_[lane] = most;
  workgroupBarrier();
  for (var x = 0u; x < busy; x++) { most = max(most, shared_[x]); }
  workgroupBarrier();
  var total = 0.0;
  for (var s = lane; s < params.numSplits; s += ${threads}u) {
    let part = partialStats[s * params.numVectors + vector];
    let factor = select(0.0, exp(part.x - most), part.y > 0.0);
    factors[s] = factor;
    total += factor * part.y;
  }
  shared_[lane] = total;
  workgroupBarrier();
  total = 0.0;
  for (var x = 0u; x < busy; x++) { total += shared_[x]; }
  let c = lane % ${quads}u;
  let group = lane / ${quads}u;
  if (group < ${groups}u) {
    var sum = vec4f();
    for (var s = group; s < params.numSplits; s += ${groups}u) {
      let factor = factors[s];
      // Parts beyond the end of a row were never written.
      if (factor > 0.0) { sum += partials[(s * params.numVectors + vector) * ${quads}u + c] * factor; }
    }
    sums[lane] = sum;
  }
  workgroupBarrier();
  if (lane < ${quads}u) {
    var sum = sums[lane];
    for (var g = 1u; g < ${groups}u; g++) { sum += sums[g * ${quads}u + lane]; }
    out[vector * ${quads}u + lane] = sum / total;
  }
  if (lane == 0u) { stats[vector] = vec2f(most, total); }
}
`;
};

/** Joins the parts of each row; every query sees at least its own token. */
export function mergeSplitsWgsl(params: DeviceAttention): WgslDispatch {
  const { numTokens, numQueryHeads, headDim, numSplits } = params;
  const numVectors = numTokens * numQueryHeads;
  return {
    name: "merge-splits",
    code: code(headDim / 4),
    u32: { numVectors, numSplits },
    reads: {
      partials: { buffer: params.partials, type: "vec4f" },
      partialStats: { buffer: params.partialStats, type: "vec2f" },
    },
    writes: {
      out: { buffer: params.out, type: "vec4f" },
      stats: { buffer: params.stats, type: "vec2f" },
    },
    workgroups: numVectors,
  };
}
