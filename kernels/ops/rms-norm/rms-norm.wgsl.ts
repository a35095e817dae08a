import type { WgslBuffer, WgslDispatch } from "@kvcache/core";

const lanes = 64;

const code = /* wgsl */ `
var<workgroup> partial: array<f32, ${lanes}>;

@compute @workgroup_size(${lanes})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = workgroupIndex(id, groups);
  if (row >= params.numRows) { return; }
  let start = row * params.width;
  var squares = 0.0;
  for (var i = lane; i < params.width; i += ${lanes}u) {
    let x = input[start + i];
    squares += x * x;
  }
  partial[lane] = squares;
  for (var step = ${lanes / 2}u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (lane < step) { partial[lane] += partial[lane + step]; }
  }
  workgroupBarrier();
  let factor = inverseSqrt(partial[0] / f32(params.width) + params.epsilon);
  for (var i = lane; i < params.width; i += ${lanes}u) {
    out[start + i] = input[start + i] * factor * (weight[i] + params.offset);
  }
}
`;

export interface RmsNormWgslParams {
  /** f32 [numRows, width]. */
  readonly input: WgslBuffer;
  /** f32 [width]. */
  readonly weight: WgslBuffer;
  readonly out: WgslBuffer;
  readonly numRows: number;
  readonly width: number;
  readonly epsilon: number;
  /** Whether the factor is weight + 1. */
  readonly unitOffset: boolean;
}

/** x / √(mean(x²) + ε) × (weight, plus 1 where `unitOffset`), row by row. */
export const rmsNormWgsl = (params: RmsNormWgslParams): WgslDispatch => ({
  name: "rms-norm",
  code,
  u32: { numRows: params.numRows, width: params.width },
  f32: { epsilon: params.epsilon, offset: params.unitOffset ? 1 : 0 },
  reads: {
    input: { buffer: params.input, type: "f32" },
    weight: { buffer: params.weight, type: "f32" },
  },
  writes: { out: { buffer: params.out, type: "f32" } },
  workgroups: params.numRows,
});
