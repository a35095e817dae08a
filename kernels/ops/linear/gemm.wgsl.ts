import { growing, unrolled } from "../../src/quads.ts";
import { type WeightChunks, weightBlock } from "./weight-chunks.wgsl.ts";

/** Tokens and features of a workgroup's tile; every thread makes 4 × 4 of them. */
export const gemmTile = 32;
/** Quads of the inner dimension that are staged at a time. */
const depth = 4;
const side = gemmTile / 4;
const threads = side * side;
const loads = (gemmTile * depth) / threads;

const codes = new Map<string, string>();

/** Tiles of tokens × features; inputs and weights pass through workgroup memory. */
export function gemmCode(chunks: WeightChunks, hasBias: boolean): string {
  const key = `${chunks.type} ${chunks.quads} ${hasBias}`;
  if (!codes.has(key)) codes.set(key, write(chunks, hasBias));
  return codes.get(key)!;
}

/** WGSL: quad c of a row of the matrix. */
const weightQuad = ({ quads, isInteger }: WeightChunks) => /* wgsl */ `
fn weightQuad(row: u32, c: u32) -> vec4f {
  let chunk = row * params.chunks + c / ${quads}u;
  let quad = quadOf(weight[chunk], c % ${quads}u);
  ${
    isInteger
      ? `let block = chunk / ${weightBlock / (4 * quads)}u; return (quad - zeroAt(block)) * scaleAt(block);`
      : "return quad;"
  }
}
`;

const cells = (text: (i: number, j: number) => string) =>
  unrolled(4, (i) => unrolled(4, (j) => text(i, j)));

const write = (chunks: WeightChunks, hasBias: boolean) => /* wgsl */ `
${chunks.code}
${weightQuad(chunks)}
var<workgroup> xs: array<vec4f, ${gemmTile * depth}>;
var<workgroup> ws: array<vec4f, ${gemmTile * depth}>;

@compute @workgroup_size(${threads})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let work = workgroupIndex(id, groups);
  let rowTiles = (params.numRows + ${gemmTile - 1}u) / ${gemmTile}u;
  let firstToken = work / rowTiles * ${gemmTile}u;
  let firstRow = work % rowTiles * ${gemmTile}u;
  if (firstToken >= params.numTokens) { return; }
  let x = thread / ${side}u;
  let w = thread % ${side}u;
  ${cells((i, j) => `var c${i}${j} = 0.0;`)}
  for (var k = 0u; k < params.quads; k += ${depth}u) {
    ${unrolled(
      loads,
      (n) => /* wgsl */ `{
      let slot = thread + ${n * threads}u;
      let token = firstToken + slot / ${depth}u;
      let row = firstRow + slot / ${depth}u;
      let c = k + slot % ${depth}u;
      var a = vec4f();
      var b = vec4f();
      if (c < params.quads && token < params.numTokens) { a = input[token * params.quads + c]; }
      if (c < params.quads && row < params.numRows) { b = weightQuad(row, c); }
      xs[slot] = a;
      ws[slot] = b;
    }`,
    )}
    workgroupBarrier();
    for (var d = 0u; d < ${depth}u; d++) {
      ${unrolled(4, (i) => `let a${i} = xs[(x + ${i * side}u) * ${depth}u + d]; let b${i} = ws[(w + ${i * side}u) * ${depth}u + d];`)}
      ${cells((i, j) => growing(`c${i}${j}`, `a${i}`, `b${j}`))}
    }
    workgroupBarrier();
  }
  ${cells(
    (i, j) => /* wgsl */ `{
    let token = firstToken + x + ${i * side}u;
    let row = firstRow + w + ${j * side}u;
    if (token < params.numTokens && row < params.numRows) {
      let feature = params.firstRow + row;
      out[token * params.outFeatures + feature] = c${i}${j}${hasBias ? " + bias[feature]" : ""};
    }
  }`,
  )}
}
`;
