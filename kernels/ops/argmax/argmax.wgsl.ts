import type { WgslBuffer, WgslDispatch } from "@kvcache/core";

const lanes = 128;

const code = /* wgsl */ `
var<workgroup> best: array<f32, ${lanes}>;
var<workgroup> place: array<u32, ${lanes}>;

fn beats(a: f32, i: u32, b: f32, j: u32) -> bool { return a > b || (a == b && i < j); }

@compute @workgroup_size(${lanes})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = workgroupIndex(id, groups);
  if (row >= params.numRows) { return; }
  let start = row * params.width;
  var value = input[start];
  var index = 0u;
  for (var i = lane; i < params.width; i += ${lanes}u) {
    let x = input[start + i];
    if (beats(x, i, value, index)) { value = x; index = i; }
  }
  best[lane] = value;
  place[lane] = index;
  for (var step = ${lanes / 2}u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (lane < step && beats(best[lane + step], place[lane + step], best[lane], place[lane])) {
      best[lane] = best[lane + step];
      place[lane] = place[lane + step];
    }
  }
  if (lane == 0u) { out[row] = place[0]; }
}
`;

export interface ArgmaxWgslParams {
  /** f32 [numRows, width]. */
  readonly input: WgslBuffer;
  /** u32 [numRows]: index of the largest number, the lowest of equal ones. */
  readonly out: WgslBuffer;
  readonly numRows: number;
  readonly width: number;
}

/** Greedy sampling on the device. */
export const argmaxWgsl = ({ input, out, numRows, width }: ArgmaxWgslParams): WgslDispatch => ({
  name: "argmax",
  code,
  u32: { numRows, width },
  reads: { input: { buffer: input, type: "f32" } },
  writes: { out: { buffer: out, type: "u32" } },
  workgroups: numRows,
});
