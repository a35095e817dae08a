import { groupSize, type WgslDispatch } from "@kvcache/core";
import { growing, unrolled } from "../../src/quads.ts";
import {
  type DeviceAttention,
  logitCode,
  logitParams,
  rowCode,
  vectorTile,
} from "./device-attention.ts";
import { type EntryChunks, entryChunks } from "./entry-chunks.wgsl.ts";

const threads = 128;

/** How a workgroup shares its work out. */
interface AttendShape {
  readonly chunks: EntryChunks;
  /** Query vectors of a workgroup: a power of two, of which the last may be missing. */
  readonly vectors: number;
  /** Keys per turn, and threads that share a key. */
  readonly keys: number;
  readonly lanes: number;
  readonly subgroups: boolean;
}

function shapeOf(params: DeviceAttention): AttendShape {
  const { headDim, dtype, numTokens, numSequences, subgroups = false } = params;
  const chunks = entryChunks(dtype, headDim);
  const most = numTokens === numSequences ? groupSize(params) : vectorTile;
  const vectors = [1, 2, 4].find((count) => most <= count) ?? vectorTile;
  const lanes = chunks.count % 4 === 0 && headDim <= 128 ? 4 : chunks.count % 2 === 0 ? 2 : 1;
  return { chunks, vectors, keys: vectors === vectorTile ? 64 : 128, lanes, subgroups };
}

const list = (count: number, text: (n: number) => string) =>
  Array.from({ length: count }, (_, n) => text(n)).join(", ");

/** Adds up `value` over the threads of a key, or leaves it to those who read `parts`. */
const sharedSum = (value: string, lanes: number) =>
  [1, 2]
    .filter((step) => step < lanes)
    .map((step) => `${value} += subgroupShuffleXor(${value}, ${step}u);`)
    .join(" ");

/*
 * Attention with a running softmax (Dao et al. 2022, arXiv:2205.14135). A workgroup takes a tile of
 * query vectors of one KV head through one part of the row, some keys at a turn: first a few threads
 * per key, so that they read neighbouring words; then a thread per vector and key; then a thread per
 * chunk of the values. Where the entries of the next keys stand is looked up a turn ahead.
 */
const code = (params: DeviceAttention, shape: AttendShape): string => {
  const { numQueryHeads, numKvHeads, slidingWindow } = params;
  const { chunks, vectors, keys, lanes, subgroups } = shape;
  const { count, quads } = chunks;
  const windowed = slidingWindow !== undefined;
  const members = threads / vectors;
  const perMember = keys / members;
  const groups = Math.floor(threads / count);
  const turns = keys % (4 * groups) === 0 ? 4 : 1;
  const each = (text: (v: number) => string) => unrolled(vectors, text);
  const ofValue = (text: (v: number, q: number) => string) =>
    each((v) => unrolled(quads, (q) => text(v, q)));
  const numParts = vectors * keys * (subgroups ? 1 : lanes);
  const loads = (count / lanes) % 4 === 0 ? 4 : 1;
  const logit = (k: string) =>
    subgroups
      ? `parts[${k} * ${vectors}u + v]`
      : Array.from(
          { length: lanes },
          (_, x) => `parts[(${k} * ${lanes}u + ${x}u) * ${vectors}u + v]`,
        ).join(" + ");
  const values = (k: string) =>
    list(turns, (n) => `blocks[entries[half + ${k} + ${n * groups}u] + blockSize * ${count}u + c]`);
  return /* wgsl */ `
${chunks.code}
${rowCode(params)}
${logitCode(params)}
const lowest = -3.0e38;
const groupSize = ${groupSize(params)}u;
var<workgroup> queries: array<vec4f, ${vectors}u * quads>;
var<workgroup> parts: array<f32, ${numParts}>;
var<workgroup> weights: array<f32, ${vectors * keys}>;
var<workgroup> entries: array<u32, ${2 * keys}>;
${windowed ? `var<workgroup> slots: array<u32, ${2 * keys}>;` : ""}
var<workgroup> shared_: array<f32, ${threads}>;
var<workgroup> rescale: array<f32, ${vectors}>;

fn lookUp(row: u32, j: u32, at: u32) {
  let slot = slotOf(row, j);
  entries[at] = (slot / blockSize * 2u * blockSize + slot % blockSize) * ${count}u;
  ${windowed ? "slots[at] = slot;" : ""}
}

@compute @workgroup_size(${threads})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
  ${subgroups ? "@builtin(subgroup_size) size: u32," : ""}
) {
  let work = workgroupIndex(id, groups);
  let head = work % ${numKvHeads}u;
  let tile = work / ${numKvHeads}u % params.numTiles;
  let split = work / (${numKvHeads}u * params.numTiles);
  if (split >= params.numSplits) { return; }
  let s = u32(step[params.tiles + 2u * tile]);
  let firstVector = u32(step[params.tiles + 2u * tile + 1u]);
  let begin = u32(step[params.cuTokens + s]);
  let tokens = u32(step[params.cuTokens + s + 1u]) - begin;
  let numVectors = min(tokens * groupSize - firstVector, ${vectors}u);
  let row = u32(step[params.sequences + s]) * ${params.rowsPerSequence}u + params.layerRow + head;
  let older = rowLength(row) - tokens;
  let visible = older + (firstVector + numVectors - 1u) / groupSize + 1u;
  let firstKey = split * params.splitKeys;
  let endKey = min(visible, firstKey + params.splitKeys);
  let outVectors = split * params.numTokens * ${numQueryHeads}u + begin * ${numQueryHeads}u + head * groupSize;
  if (firstKey >= endKey) {
    if (lane < numVectors) {
      let v = firstVector + lane;
      partialStats[outVectors + v / groupSize * ${numQueryHeads}u + v % groupSize] = vec2f(lowest, 0.0);
    }
    return;
  }
  for (var i = lane; i < ${vectors}u * quads; i += ${threads}u) {
    let v = firstVector + min(i / quads, numVectors - 1u);
    let queryHead = head * groupSize + v % groupSize;
    queries[i] = query[((begin + v / groupSize) * ${numQueryHeads}u + queryHead) * quads + i % quads];
  }
  if (lane < ${keys}u) { lookUp(row, min(firstKey + lane, endKey - 1u), lane); }
  let v = lane / ${members}u;
  let member = lane % ${members}u;
  let token = (firstVector + v) / groupSize;
  var best = lowest;
  var total = 0.0;
  let c = lane % ${count}u;
  let valueGroup = lane / ${count}u;
  ${ofValue((v, q) => `var sum${v}_${q} = vec4f();`)}
  var half = 0u;
  workgroupBarrier();

  for (var first = firstKey; first < endKey; first += ${keys}u) {
    for (var p = 0u; p < ${Math.ceil((keys * lanes) / threads)}u; p++) {
      let k = lane / ${lanes}u + p * ${threads / lanes}u;
      ${keys * lanes < threads ? `if (k >= ${keys}u) { break; }` : ""}
      let at = entries[half + k] + lane % ${lanes}u;
      ${each((v) => `var product${v} = 0.0;`)}
      for (var d = 0u; d < ${count}u; d += ${loads * lanes}u) {
        var loaded = array<${chunks.type}, ${loads}>(${list(loads, (n) => `blocks[at + d + ${n * lanes}u]`)});
        for (var n = 0u; n < ${loads}u; n++) {
          let quad = (lane % ${lanes}u + d + n * ${lanes}u) * ${quads}u;
          ${unrolled(quads, (q) => `{ let x = quadOf(loaded[n], ${q}u); ${each((v) => `{ let q = queries[${v}u * quads + quad + ${q}u]; ${growing(`product${v}`, "q", "x")} }`)} }`)}
        }
      }
      ${
        subgroups
          ? each(
              (v) =>
                `${sharedSum(`product${v}`, lanes)} parts[k * ${vectors}u + ${v}u] = product${v};`,
            )
          : each((v) => `parts[(p * ${threads}u + lane) * ${vectors}u + ${v}u] = product${v};`)
      }
    }
    // The first values are on their way while weights are made.
    var coming = array<${chunks.type}, ${turns}>();
    if (valueGroup < ${groups}u) { coming = array<${chunks.type}, ${turns}>(${values("valueGroup")}); }
    workgroupBarrier();
    var most = lowest;
    ${unrolled(
      perMember,
      (i) => /* wgsl */ `var logit${i} = lowest;
    {
      let k = member + ${i * members}u;
      let j = first + k;
      var hidden = v >= numVectors || j >= endKey || j > older + token;
      ${windowed ? `if (!hidden) { hidden = bitcast<i32>(side[slots[half + k]]) + params.slidingWindow <= step[params.positions + begin + token]; }` : ""}
      if (!hidden) { logit${i} = logitOf(${logit("k")}); }
      most = max(most, logit${i});
    }`,
    )}
    if (lane < ${keys}u) { lookUp(row, min(first + ${keys}u + lane, endKey - 1u), ${keys}u - half + lane); }
    ${
      subgroups
        ? /* wgsl */ `
    let span = min(size, ${members}u);
    for (var x = 1u; x < span; x *= 2u) { most = max(most, subgroupShuffleXor(most, x)); }
    if (lane % span == 0u) { shared_[lane / span] = most; }
    workgroupBarrier();
    let numSpans = ${members}u / span;
    for (var x = 0u; x < numSpans; x++) { most = max(most, shared_[v * numSpans + x]); }`
        : /* wgsl */ `
    shared_[lane] = most;
    workgroupBarrier();
    for (var x = 0u; x < ${members}u; x++) { most = max(most, shared_[v * ${members}u + x]); }`
    }
    let before = best;
    best = max(best, most);
    let factor = exp(before - best);
    total *= factor;
    ${unrolled(
      perMember,
      (i) => /* wgsl */ `{
      let weight = select(exp(logit${i} - best), 0.0, logit${i} <= lowest);
      total += weight;
      weights[(member + ${i * members}u) * ${vectors}u + v] = weight;
    }`,
    )}
    if (member == 0u) { rescale[v] = factor; }
    workgroupBarrier();
    ${ofValue((v, q) => `sum${v}_${q} *= rescale[${v}];`)}
    if (valueGroup < ${groups}u) {
      for (var k = valueGroup; k < ${keys}u; k += ${turns * groups}u) {
        let loaded = coming;
        let next = k + ${turns * groups}u;
        if (next < ${keys}u) { coming = array<${chunks.type}, ${turns}>(${values("next")}); }
        for (var n = 0u; n < ${turns}u; n++) {
          let weightsAt = (k + n * ${groups}u) * ${vectors}u;
          ${each((v) => `let weight${v} = weights[weightsAt + ${v}u];`)}
          ${unrolled(quads, (q) => `{ let x = quadOf(loaded[n], ${q}u); ${each((v) => `sum${v}_${q} += weight${v} * x;`)} }`)}
        }
      }
    }
    half = ${keys}u - half;
  }

  workgroupBarrier();
  shared_[lane] = total;
  if (member == 0u) { rescale[v] = best; }
  workgroupBarrier();
  if (lane < numVectors) {
    var sum = 0.0;
    for (var x = 0u; x < ${members}u; x++) { sum += shared_[lane * ${members}u + x]; }
    let vector = firstVector + lane;
    partialStats[outVectors + vector / groupSize * ${numQueryHeads}u + vector % groupSize] = vec2f(rescale[lane], sum);
  }
  // The queries are done with: their memory takes the sums, one group of keys after another.
  for (var g = 0u; g < ${groups}u; g++) {
    workgroupBarrier();
    if (valueGroup == g) {
      ${ofValue((n, q) => `{ let at = ${n}u * quads + c * ${quads}u + ${q}u; queries[at] = select(queries[at], vec4f(), g == 0u) + sum${n}_${q}; }`)}
    }
  }
  workgroupBarrier();
  for (var i = lane; i < numVectors * quads; i += ${threads}u) {
    let vector = firstVector + i / quads;
    let at = outVectors + vector / groupSize * ${numQueryHeads}u + vector % groupSize;
    partials[at * quads + i % quads] = queries[i];
  }
}
`;
};

/** Attention of all new tokens over their rows, one part of each row at a time. */
export function attendWgsl(params: DeviceAttention): WgslDispatch {
  const { sections, slidingWindow } = params;
  const windowed = slidingWindow !== undefined;
  const shape = shapeOf(params);
  return {
    name: "attend",
    ...(shape.subgroups && { enables: ["subgroups"] }),
    code: code(params, shape),
    u32: {
      numTokens: params.numTokens,
      numTiles: params.numTiles,
      numSplits: params.numSplits,
      splitKeys: params.splitKeys,
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
      blocks: { buffer: params.storage, type: shape.chunks.type },
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
