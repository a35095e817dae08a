import type { WgslBuffer, WgslDispatch } from "@kvcache/core";

const lanes = 128;
/** Numbers of a row that one workgroup looks at. */
const partWidth = 16 * lanes;

/** The best of a workgroup's candidates: keys descending, then indices ascending. */
const bestOfLanes = /* wgsl */ `
var<workgroup> keys: array<u32, ${lanes}>;
var<workgroup> places: array<u32, ${lanes}>;

fn beats(a: u32, i: u32, b: u32, j: u32) -> bool { return a > b || (a == b && i < j); }

fn bestOfLanes(lane: u32) {
  for (var step = ${lanes / 2}u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (lane < step && beats(keys[lane + step], places[lane + step], keys[lane], places[lane])) {
      keys[lane] = keys[lane + step];
      places[lane] = places[lane + step];
    }
  }
}
`;

const arguments_ = /* wgsl */ `
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
`;

// Floats are compared by their bits, for WGSL promises nothing about NaN and infinity.
const partsCode = /* wgsl */ `
${bestOfLanes}
/** Orders floats as they are ordered, both zeros alike; NaN comes above all. */
fn keyOf(bits: u32) -> u32 {
  let size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) { return 0xffffffffu; }
  if (size == 0u) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, bits > 0x7fffffffu);
}

@compute @workgroup_size(${lanes})
fn main(${arguments_}) {
  let part = workgroupIndex(id, groups);
  if (part >= params.numRows * params.numParts) { return; }
  let row = part / params.numParts;
  let start = (part % params.numParts) * ${partWidth}u;
  var key = 0u;
  var place = 0xffffffffu;
  for (var i = start + lane; i < min(params.width, start + ${partWidth}u); i += ${lanes}u) {
    let x = keyOf(input[row * params.width + i]);
    if (beats(x, i, key, place)) { key = x; place = i; }
  }
  keys[lane] = key;
  places[lane] = place;
  bestOfLanes(lane);
  if (lane == 0u) { parts[part] = vec2u(keys[0], places[0]); }
}
`;

const rowsCode = /* wgsl */ `
${bestOfLanes}
@compute @workgroup_size(${lanes})
fn main(${arguments_}) {
  let row = workgroupIndex(id, groups);
  if (row >= params.numRows) { return; }
  var key = 0u;
  var place = 0xffffffffu;
  for (var i = lane; i < params.numParts; i += ${lanes}u) {
    let part = parts[row * params.numParts + i];
    if (beats(part.x, part.y, key, place)) { key = part.x; place = part.y; }
  }
  keys[lane] = key;
  places[lane] = place;
  bestOfLanes(lane);
  if (lane == 0u) {
    // Between the keys of both infinities.
    let isFinite = keys[0] > 0x007fffffu && keys[0] < 0xff800000u;
    out[params.outAt + row] = select(-1i, i32(places[0]), isFinite);
  }
}
`;

export interface LikeliestWgslParams {
  /** f32 [numRows, width]. */
  readonly input: WgslBuffer;
  /** Scratch: at least {@link likeliestPartWords} words. */
  readonly parts: WgslBuffer;
  /** i32: receives the index of each row's largest number from `outAt` on. */
  readonly out: WgslBuffer;
  readonly outAt: number;
  readonly numRows: number;
  readonly width: number;
}

const partsOf = (width: number) => Math.ceil(width / partWidth);

/** Words of scratch that {@link likeliestWgsl} takes. */
export const likeliestPartWords = (numRows: number, width: number) => 2 * numRows * partsOf(width);

/**
 * Greedy choice: index of the largest number of each row, the lowest of equal ones; −1 where nothing
 * can be chosen, for a number is NaN or +Infinity or all are −Infinity.
 */
export function likeliestWgsl(params: LikeliestWgslParams): readonly WgslDispatch[] {
  const { input, parts, out, outAt, numRows, width } = params;
  const numParts = partsOf(width);
  return [
    {
      name: "likeliest of parts",
      code: partsCode,
      u32: { numRows, numParts, width },
      reads: { input: { buffer: input, type: "u32" } },
      writes: { parts: { buffer: parts, type: "vec2u" } },
      workgroups: numRows * numParts,
    },
    {
      name: "likeliest",
      code: rowsCode,
      u32: { numRows, numParts, outAt },
      reads: { parts: { buffer: parts, type: "vec2u" } },
      writes: { out: { buffer: out, type: "i32" } },
      workgroups: numRows,
    },
  ];
}
