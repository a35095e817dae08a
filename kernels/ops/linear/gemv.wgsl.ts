import { type QuadDtype, quadCode, unrolled } from "../../src/quads.ts";

export const gemvThreads = 128;
/** Tokens that share each load of a weight. */
export const mostGemvTokens = 4;

/** Threads that share a row: a power of two, each with some four quads at least. */
export function gemvLanes(quads: number): number {
  let lanes = 4;
  while (lanes < gemvThreads && lanes * 4 < quads) lanes *= 2;
  return lanes;
}

const codes = new Map<string, string>();

/** One row of the matrix per `lanes` threads, all tokens at once. */
export function gemvCode(
  dtype: QuadDtype,
  numTokens: number,
  lanes: number,
  hasBias: boolean,
): string {
  const width = numTokens === 1 ? 1 : mostGemvTokens;
  const key = `${dtype} ${width} ${lanes} ${hasBias}`;
  if (!codes.has(key)) codes.set(key, write(dtype, width, lanes, hasBias));
  return codes.get(key)!;
}

const write = (dtype: QuadDtype, width: number, lanes: number, hasBias: boolean) => /* wgsl */ `
${quadCode(dtype)}
var<workgroup> partial: array<f32, ${width * gemvThreads}>;

@compute @workgroup_size(${gemvThreads})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let lane = thread % ${lanes}u;
  let row = workgroupIndex(id, groups) * ${gemvThreads / lanes}u + thread / ${lanes}u;
  ${unrolled(width, (t) => `var sum${t} = 0.0; let at${t} = min(${t}u, params.numTokens - 1u) * params.quads;`)}
  if (row < params.numRows) {
    for (var c = lane; c < params.quads; c += ${lanes}u) {
      let w = toQuad(weight[row * params.quads + c]);
      ${unrolled(width, (t) => `sum${t} += dot(w, input[at${t} + c]);`)}
    }
  }
  ${unrolled(width, (t) => `partial[${t * gemvThreads}u + thread] = sum${t};`)}
  workgroupBarrier();
  // Two steps of few barriers, not a tree: software drivers take seconds to compile each barrier.
  var t = lane;
  ${
    lanes > 8
      ? /* wgsl */ `
  let parts = ${lanes / 8}u;
  var sums = array<f32, ${width}>();
  if (lane < parts) {
    for (var n = 0u; n < ${width}u; n++) {
      for (var k = 0u; k < 8u; k++) { sums[n] += partial[n * ${gemvThreads}u + thread + k * parts]; }
    }
  }
  workgroupBarrier();
  if (lane < parts) {
    for (var n = 0u; n < ${width}u; n++) { partial[n * ${gemvThreads}u + thread] = sums[n]; }
  }
  workgroupBarrier();`
      : `let parts = ${lanes}u;`
  }
  if (row >= params.numRows) { return; }
  let feature = params.firstRow + row;
  for (; t < params.numTokens; t += ${lanes}u) {
    var total = ${hasBias ? "bias[feature]" : "0.0"};
    for (var k = 0u; k < parts; k++) { total += partial[t * ${gemvThreads}u + thread - lane + k]; }
    out[t * params.outFeatures + feature] = total;
  }
}
`;
