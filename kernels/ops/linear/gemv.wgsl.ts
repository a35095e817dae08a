import { growing, unrolled } from "../../src/quads.ts";
import { type WeightChunks, weightBlock } from "./weight-chunks.wgsl.ts";

export const gemvThreads = 128;
/** Tokens that share each load of a weight. */
const mostTokens = 8;

/** Structure of a kernel for few tokens. */
export interface GemvShape {
  /** Tokens of a workgroup, and rows of the matrix of a thread, which share loads of each other. */
  readonly width: number;
  readonly rows: number;
  /** Threads that share rows: a power of two. */
  readonly lanes: number;
  readonly hasBias: boolean;
  /** Whether the columns past the last one of a row must be kept out. */
  readonly ragged: boolean;
  /** Sums over lanes by subgroups: tier T1. */
  readonly subgroups: boolean;
}

/** Threads that share a row: each with some four chunks at least. */
export function gemvLanes(chunks: number): number {
  let lanes = 4;
  while (lanes < gemvThreads && lanes * 4 < chunks) lanes *= 2;
  return lanes;
}

export const gemvWidth = (numTokens: number): number =>
  [1, 2, 4].find((width) => numTokens <= width) ?? mostTokens;

const codes = new Map<string, string>();

export function gemvCode(chunks: WeightChunks, shape: GemvShape): string {
  const key = `${chunks.type} ${chunks.quads} ${JSON.stringify(shape)}`;
  if (!codes.has(key)) codes.set(key, write(chunks, shape));
  return codes.get(key)!;
}

/** Sums of all lanes of a group: `partial` has them by (row, token), `parts` numbers each. */
const sumsByBarriers = (
  count: number,
  lanes: number,
  each: (text: (n: number) => string) => string,
) => /* wgsl */ `
  ${each((n) => `partial[${n * gemvThreads}u + thread] = sum${n};`)}
  workgroupBarrier();
  let base = thread - lane;
  ${
    lanes > 8
      ? /* wgsl */ `
  // Two steps of few barriers, not a tree: software drivers take seconds to compile each barrier.
  // A thread reads only the numbers that are its index apart, and writes the first of them.
  for (var i = lane; i < ${(count * lanes) / 8}u; i += ${lanes}u) {
    let at = i / ${lanes / 8}u * ${gemvThreads}u + base + i % ${lanes / 8}u;
    var sum = 0.0;
    for (var k = 0u; k < 8u; k++) { sum += partial[at + k * ${lanes / 8}u]; }
    partial[at] = sum;
  }
  workgroupBarrier();
  const parts = ${lanes / 8}u;`
      : `const parts = ${lanes}u;`
  }
  const stride = ${gemvThreads}u;`;

const sumsBySubgroups = (
  _count: number,
  each: (text: (n: number) => string) => string,
) => /* wgsl */ `
  let parts = (${gemvThreads}u + size - 1u) / size;
  let stride = parts;
  const base = 0u;
  ${each((n) => `{ let sum = subgroupAdd(sum${n}); if (thread % size == 0u) { partial[${n}u * stride + thread / size] = sum; } }`)}
  workgroupBarrier();`;

const write = (
  { type, quads, isInteger, code }: WeightChunks,
  { width, rows, lanes, hasBias, ragged, subgroups }: GemvShape,
): string => {
  const each = (text: (n: number) => string) => unrolled(rows * width, text);
  const bySubgroup = subgroups && lanes === gemvThreads;
  const chunksPerBlock = weightBlock / (4 * quads);
  const quadTimes = (k: string) => {
    const quad = `c * ${quads}u + ${k}`;
    const x = (t: number) =>
      ragged
        ? `select(vec4f(), input[token${t} + ${quad}], ${quad} < params.quads)`
        : `input[token${t} + ${quad}]`;
    return /* wgsl */ `
      ${unrolled(rows, (r) => `let q${r} = ${isInteger ? `(quadOf(w${r}, ${k}) - zero${r}) * scale${r}` : `quadOf(w${r}, ${k})`};`)}
      ${unrolled(width, (t) => `let x${t} = ${x(t)};`)}
      ${unrolled(rows, (r) => unrolled(width, (t) => growing(`sum${r * width + t}`, `q${r}`, `x${t}`)))}`;
  };
  const scales = (r: number) =>
    `let block${r} = (row${r} + c) / ${chunksPerBlock}u; let scale${r} = scaleAt(block${r}); let zero${r} = zeroAt(block${r});`;
  return /* wgsl */ `
${code}
var<workgroup> partial: array<f32, ${rows * width * (bySubgroup ? 32 : gemvThreads)}>;

@compute @workgroup_size(${gemvThreads})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
  ${bySubgroup ? "@builtin(subgroup_size) size: u32," : ""}
) {
  let work = workgroupIndex(id, groups);
  let lane = thread % ${lanes}u;
  let firstRow = (work / params.tokenTiles * ${gemvThreads / lanes}u + thread / ${lanes}u) * ${rows}u;
  let firstToken = work % params.tokenTiles * ${width}u;
  ${unrolled(rows, (r) => `let row${r} = min(firstRow + ${r}u, params.numRows - 1u) * params.chunks;`)}
  ${unrolled(width, (t) => `let token${t} = min(firstToken + ${t}u, params.numTokens - 1u) * params.quads;`)}
  ${each((n) => `var sum${n} = 0.0;`)}
  for (var c = lane; c < params.chunks; c += ${lanes}u) {
    ${unrolled(rows, (r) => `let w${r}: ${type} = weight[row${r} + c];`)}
    ${
      isInteger
        ? `${unrolled(rows, scales)} for (var k = 0u; k < ${quads}u; k++) { ${quadTimes("k")} }`
        : unrolled(quads, (k) => `{ ${quadTimes(`${k}u`)} }`)
    }
  }
  ${bySubgroup ? sumsBySubgroups(rows * width, each) : sumsByBarriers(rows * width, lanes, each)}
  for (var i = lane; i < ${rows * width}u; i += ${lanes}u) {
    let row = firstRow + i / ${width}u;
    let token = firstToken + i % ${width}u;
    if (row < params.numRows && token < params.numTokens) {
      let feature = params.firstRow + row;
      var total = ${hasBias ? "bias[feature]" : "0.0"};
      for (var k = 0u; k < parts; k++) { total += partial[i * stride + base + k]; }
      out[token * params.outFeatures + feature] = total;
    }
  }
}
`;
};
