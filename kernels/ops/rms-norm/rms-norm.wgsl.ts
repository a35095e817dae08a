import type { WgslBuffer, WgslDispatch } from "@kvcache/core";

/** Numbers of a row that a thread takes, four at a time where that divides the row. */
const perThread = 16;

/** A workgroup per row. */
const write = (lanes: number, type: "f32" | "vec4f"): string => {
  const sum = type === "f32" ? "x * x" : "dot(x, x)";
  return /* wgsl */ `
var<workgroup> partial: array<f32, ${lanes}>;

@compute @workgroup_size(${lanes})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = workgroupIndex(id, groups);
  if (row >= params.numRows) { return; }
  let start = row * params.count;
  var squares = 0.0;
  for (var i = lane; i < params.count; i += ${lanes}u) {
    let x = input[start + i];
    squares += ${sum};
  }
  partial[lane] = squares;
  for (var step = ${lanes / 2}u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (lane < step) { partial[lane] += partial[lane + step]; }
  }
  workgroupBarrier();
  let factor = inverseSqrt(partial[0] / f32(params.width) + params.epsilon);
  for (var i = lane; i < params.count; i += ${lanes}u) {
    out[start + i] = input[start + i] * factor * (weight[i] + params.offset);
  }
}
`;
};

const codes = new Map<string, string>();

function codeOf(lanes: number, type: "f32" | "vec4f"): string {
  const key = `${lanes} ${type}`;
  if (!codes.has(key)) codes.set(key, write(lanes, type));
  return codes.get(key)!;
}

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
export const rmsNormWgsl = (params: RmsNormWgslParams): WgslDispatch => {
  const { numRows, width } = params;
  const type = width % 4 === 0 ? "vec4f" : "f32";
  const lanes = [32, 64, 128].find((count) => width <= count * perThread) ?? 256;
  return {
    name: "rms-norm",
    code: codeOf(lanes, type),
    u32: { numRows, width, count: type === "f32" ? width : width / 4 },
    f32: { epsilon: params.epsilon, offset: params.unitOffset ? 1 : 0 },
    reads: {
      input: { buffer: params.input, type },
      weight: { buffer: params.weight, type },
    },
    writes: { out: { buffer: params.out, type } },
    workgroups: numRows,
  };
};
