import type { WgslDispatch } from "@kvcache/core";
import { quadCode, quadType, unrolled } from "../../src/quads.ts";
import {
  type DeviceAttention,
  keyTile,
  logitCode,
  logitParams,
  rowCode,
  vectorTile,
} from "./device-attention.ts";

/*
 * Attention with a running softmax (Dao et al. 2022, arXiv:2205.14135). A workgroup takes a tile of
 * query vectors of one KV head through one part of the row, 64 keys at a time: first a thread per
 * key, then a thread per quad of the values.
 */
const code = (params: DeviceAttention): string => {
  const quads = params.headDim / 4;
  const valueGroups = Math.floor(keyTile / quads);
  const perThread = Math.ceil(vectorTile / valueGroups);
  const group = params.numQueryHeads / params.numKvHeads;
  const vectorOf = (n: number) => `(valueGroup + ${n * valueGroups}u)`;
  return /* wgsl */ `
${quadCode(params.dtype)}
${rowCode(params)}
${logitCode(params)}
const lowest = -3.0e38;
const groupSize = ${group}u;
var<workgroup> queries: array<vec4f, ${vectorTile * quads}>;
var<workgroup> weights: array<f32, ${vectorTile * keyTile}>;
var<workgroup> valuesAt: array<u32, ${keyTile}>;
var<workgroup> largest: array<f32, ${vectorTile}>;
var<workgroup> rescale: array<f32, ${vectorTile}>;

@compute @workgroup_size(${keyTile})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let work = workgroupIndex(id, groups);
  let split = work % params.numSplits;
  let head = work / params.numSplits % ${params.numKvHeads}u;
  let tile = work / (params.numSplits * ${params.numKvHeads}u);
  if (tile >= params.numTiles) { return; }
  let s = u32(step[params.tiles + 2u * tile]);
  let firstVector = u32(step[params.tiles + 2u * tile + 1u]);
  let begin = u32(step[params.cuTokens + s]);
  let tokens = u32(step[params.cuTokens + s + 1u]) - begin;
  let numVectors = min(tokens * groupSize - firstVector, ${vectorTile}u);
  let row = u32(step[params.sequences + s]) * ${params.rowsPerSequence}u + params.layerRow + head;
  let older = rowLength(row) - tokens;
  let visible = older + (firstVector + numVectors - 1u) / groupSize + 1u;
  let tilesPerSplit = (visible + params.numSplits * ${keyTile}u - 1u) / (params.numSplits * ${keyTile}u);
  let firstKey = split * tilesPerSplit * ${keyTile}u;
  let endKey = min(visible, firstKey + tilesPerSplit * ${keyTile}u);

  for (var i = lane; i < ${vectorTile * quads}u; i += ${keyTile}u) {
    let v = firstVector + min(i / quads, numVectors - 1u);
    let queryHead = head * groupSize + v % groupSize;
    queries[i] = query[((begin + v / groupSize) * ${params.numQueryHeads}u + queryHead) * quads + i % quads];
  }
  if (lane < ${vectorTile}u) { largest[lane] = lowest; }
  var total = 0.0;
  let c = lane % quads;
  let valueGroup = lane / quads;
  ${unrolled(perThread, (n) => `var sum${n} = vec4f();`)}

  for (var first = firstKey; first < endKey; first += ${keyTile}u) {
    workgroupBarrier();
    let j = first + lane;
    ${unrolled(vectorTile, (v) => `var logit${v} = 0.0;`)}
    if (j < endKey) {
      let slot = slotOf(row, j);
      let at = keyOf(slot);
      valuesAt[lane] = at + blockSize * quads;
      ${params.slidingWindow === undefined ? "" : "let position = bitcast<i32>(side[slot]);"}
      for (var d = 0u; d < quads; d++) {
        let k = toQuad(blocks[at + d]);
        ${unrolled(vectorTile, (v) => `logit${v} += dot(queries[${v}u * quads + d], k);`)}
      }
      ${unrolled(
        vectorTile,
        (v) => /* wgsl */ `{
        let token = (firstVector + ${v}u) / groupSize;
        var hidden = ${v}u >= numVectors || j > older + token;
        ${params.slidingWindow === undefined ? "" : `if (!hidden) { hidden = position + params.slidingWindow <= step[params.positions + begin + token]; }`}
        logit${v} = select(logitOf(logit${v}), lowest, hidden);
      }`,
      )}
    } else {
      ${unrolled(vectorTile, (v) => `logit${v} = lowest;`)}
    }
    ${unrolled(vectorTile, (v) => `weights[${v * keyTile}u + lane] = logit${v};`)}
    workgroupBarrier();
    if (lane < ${vectorTile}u) {
      let before = largest[lane];
      var best = before;
      for (var k = 0u; k < ${keyTile}u; k++) { best = max(best, weights[lane * ${keyTile}u + k]); }
      largest[lane] = best;
      rescale[lane] = exp(before - best);
    }
    workgroupBarrier();
    ${unrolled(
      vectorTile,
      (v) =>
        `weights[${v * keyTile}u + lane] = select(exp(logit${v} - largest[${v}]), 0.0, logit${v} <= lowest);`,
    )}
    workgroupBarrier();
    if (lane < ${vectorTile}u) {
      total *= rescale[lane];
      for (var k = 0u; k < ${keyTile}u; k++) { total += weights[lane * ${keyTile}u + k]; }
    }
    if (valueGroup < ${valueGroups}u) {
      ${unrolled(perThread, (n) => `sum${n} *= rescale[min(${vectorOf(n)}, ${vectorTile - 1}u)];`)}
      for (var k = 0u; k < min(${keyTile}u, endKey - first); k++) {
        let x = toQuad(blocks[valuesAt[k] + c]);
        ${unrolled(perThread, (n) => `sum${n} += weights[min(${vectorOf(n)}, ${vectorTile - 1}u) * ${keyTile}u + k] * x;`)}
      }
    }
  }

  let outVector = split * params.numTokens * ${params.numQueryHeads}u;
  if (valueGroup < ${valueGroups}u) {
    ${unrolled(
      perThread,
      (n) => /* wgsl */ `if (${vectorOf(n)} < numVectors) {
      let v = firstVector + ${vectorOf(n)};
      let at = outVector + (begin + v / groupSize) * ${params.numQueryHeads}u + head * groupSize + v % groupSize;
      partials[at * quads + c] = sum${n};
    }`,
    )}
  }
  if (lane < numVectors) {
    let v = firstVector + lane;
    let at = outVector + (begin + v / groupSize) * ${params.numQueryHeads}u + head * groupSize + v % groupSize;
    partialStats[at] = vec2f(largest[lane], total);
  }
}
`;
};

/** Attention of all new tokens over their rows, one part of each row at a time. */
export function attendWgsl(params: DeviceAttention): WgslDispatch {
  const { sections, slidingWindow } = params;
  const windowed = slidingWindow !== undefined;
  return {
    name: "attend",
    code: code(params),
    u32: {
      numTokens: params.numTokens,
      numTiles: params.numTiles,
      numSplits: params.numSplits,
      layerRow: params.layerRow,
      lengthsAt: params.lengthsAt,
      maxBlocksPerRow: params.maxBlocksPerRow,
      tiles: sections.tiles,
      cuTokens: sections.cuTokens,
      sequences: sections.sequences,
      ...(windowed && { positions: sections.positions }),
    },
    ...(windowed && { i32: { slidingWindow } }),
    f32: logitParams(params),
    reads: {
      step: { buffer: params.step, type: "i32" },
      tables: { buffer: params.tables, type: "i32" },
      blocks: { buffer: params.storage, type: quadType(params.dtype) },
      ...(windowed && { side: { buffer: params.side, type: "u32" } }),
      query: { buffer: params.query, type: "vec4f" },
    },
    writes: {
      partials: { buffer: params.partials, type: "vec4f" },
      partialStats: { buffer: params.partialStats, type: "vec2f" },
    },
    workgroups: params.numTiles * params.numKvHeads * params.numSplits,
  };
}
