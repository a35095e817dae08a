import {
  groupSize,
  hostTensor,
  type KvBatch,
  type Tensor,
  type WgslArena,
  type WgslBatch,
  type WgslRecorder,
} from "@kvcache/core";
import { rowDispatch } from "./arena-rows.wgsl.ts";
import { unrolled } from "./quads.ts";

/** Keys of a workgroup, and query vectors that it treats at once. */
const keyLanes = 64;
const vectorTile = 8;
/** Keys that one workgroup takes the statistics of, where that leaves few enough statistics. */
const keysPerSplit = 512;
const mostStatistics = 16384;

/** What the last queries of a batch's sequences pay to its rows: see {@link recordWindowStatistics}. */
export interface WindowPass {
  readonly batch: KvBatch;
  readonly window: number;
  readonly scale: number;
}

/** WGSL: the window of a row's sequence; reads `sequences` and `windowQueries`. */
const windowCode = ({ shape }: KvBatch) => /* wgsl */ `
const lowest = -3.0e38;
const groupSize = ${groupSize(shape)}u;
const numQueryHeads = ${shape.numQueryHeads}u;
fn nextOf(row: Row) -> i32 { return sequences[2u * row.sequence]; }
fn observedOf(row: Row) -> u32 { return u32(sequences[2u * row.sequence + 1u]); }
/** First quad of the query of a head of the row's group, by its place in the window. */
fn queryOf(row: Row, i: u32, member: u32) -> u32 {
  let position = u32(nextOf(row)) - observedOf(row) + i;
  let ring = (row.slot * params.numLayers + row.layer) * params.windowSize + position % params.windowSize;
  return (ring * numQueryHeads + row.head * groupSize + member) * quads;
}
var<workgroup> queries: array<vec4f, ${vectorTile}u * quads>;
`;

/** i32 [sequences, 2]: next position, and observed queries. */
export const windowsOf = ({ batch, window }: WindowPass): Tensor =>
  hostTensor(
    Int32Array.from(
      batch.nextPositions.flatMap((next, i) => [next, Math.min(window, batch.windowLengths[i]!)]),
    ),
  );

const each = (text: (v: number) => string) => unrolled(vectorTile, text);

/** Part of a row's keys × 8 of its query vectors: largest logit and sum of exponentials of each. */
const statisticsCode = /* wgsl */ `
  let split = part % params.numSplits;
  let firstVector = part / params.numSplits * ${vectorTile}u;
  let observed = observedOf(row);
  let numVectors = observed * groupSize;
  if (firstVector >= numVectors) { return; }
  for (var i = lane; i < ${vectorTile}u * quads; i += ${keyLanes}u) {
    let v = min(firstVector + i / quads, numVectors - 1u);
    queries[i] = windowQueries[queryOf(row, v / groupSize, v % groupSize) + i % quads];
  }
  workgroupBarrier();
  let start = nextOf(row) - i32(observed);
  ${each((v) => `var best${v} = lowest; var total${v} = 0.0;`)}
  let perSplit = (row.length + params.numSplits - 1u) / params.numSplits;
  let end = min(row.length, (split + 1u) * perSplit);
  for (var j = split * perSplit + lane; j < end; j += ${keyLanes}u) {
    let slot = slotOf(row, j);
    let position = bitcast<i32>(side[slot]);
    let at = keyOf(slot);
    ${each((v) => `var logit${v} = 0.0;`)}
    for (var c = 0u; c < quads; c++) {
      let key = toQuad(blocks[at + c]);
      ${each((v) => `logit${v} += dot(queries[${v}u * quads + c], key);`)}
    }
    ${each(
      (v) => /* wgsl */ `if (position <= start + i32((firstVector + ${v}u) / groupSize)) {
      let logit = logit${v} * params.scale;
      let most = max(best${v}, logit);
      total${v} = total${v} * exp(best${v} - most) + exp(logit - most);
      best${v} = most;
    }`,
    )}
  }
  ${each((v) => `parts[${v * keyLanes}u + lane] = vec2f(best${v}, total${v});`)}
  workgroupBarrier();
  if (lane < ${vectorTile}u && firstVector + lane < numVectors) {
    var both = vec2f(lowest, 0.0);
    for (var k = 0u; k < ${keyLanes}u; k++) { both = joined(both, parts[lane * ${keyLanes}u + k]); }
    let v = row.index * params.maxVectors + firstVector + lane;
    statistics[v * params.numSplits + split] = both;
  }
`;

const joinedCode = /* wgsl */ `
fn joined(a: vec2f, b: vec2f) -> vec2f {
  let most = max(a.x, b.x);
  return vec2f(most, a.y * exp(a.x - most) + b.y * exp(b.x - most));
}
`;

/** 64 keys × one query head × the queries of one slab. */
const weightsCode = (power: 1 | 2) => /* wgsl */ `
  let tile = part / (groupSize * params.numSlabs);
  let member = part % groupSize;
  let slab = part / groupSize % params.numSlabs;
  let observed = observedOf(row);
  let first = (params.firstSlab + slab) * params.slabSize;
  let end = min(observed, first + params.slabSize);
  let start = nextOf(row) - i32(observed);
  let j = tile * ${keyLanes}u + lane;
  let exists = j < row.length;
  var position = 0;
  var at = 0u;
  if (exists) {
    let slot = slotOf(row, j);
    position = bitcast<i32>(side[slot]);
    at = keyOf(slot);
  }
  var sum = 0.0;
  for (var i = first; i < end; i += ${vectorTile}u) {
    workgroupBarrier();
    for (var k = lane; k < ${vectorTile}u * quads; k += ${keyLanes}u) {
      queries[k] = windowQueries[queryOf(row, min(i + k / quads, end - 1u), member) + k % quads];
    }
    if (lane < ${vectorTile}u) {
      let v = row.index * params.maxVectors + min(i + lane, end - 1u) * groupSize + member;
      var both = vec2f(lowest, 0.0);
      for (var s = 0u; s < params.numSplits; s++) {
        both = joined(both, statistics[v * params.numSplits + s]);
      }
      softmaxes[lane] = vec2f(both.x, select(0.0, 1.0 / both.y, both.y > 0.0));
    }
    workgroupBarrier();
    if (exists) {
      ${each((v) => `var logit${v} = 0.0;`)}
      for (var c = 0u; c < quads; c++) {
        let key = toQuad(blocks[at + c]);
        ${each((v) => `logit${v} += dot(queries[${v}u * quads + c], key);`)}
      }
      ${each(
        (v) => /* wgsl */ `if (i + ${v}u < end && position <= start + i32(i + ${v}u)) {
        let query = start + i32(i + ${v}u);
        let weight = exp(logit${v} * params.scale - softmaxes[${v}].x) * softmaxes[${v}].y;
        if (position <= query - params.buffer) { sum += ${power === 1 ? "weight" : "weight * weight"}; }
      }`,
      )}
    }
  }
  if (exists) { sums[(slab * groupSize + member) * params.totalSlots + row.begin + j] = sum; }
`;

/** What {@link recordWindowStatistics} leaves for {@link recordWindowSums}. */
export interface WindowStatistics extends WindowPass {
  readonly own: WgslBatch;
  readonly arena: WgslArena;
  readonly statistics: Tensor;
  readonly numbers: Readonly<Record<string, number>>;
}

/** Queries that a batch has of a window, at most. */
export const longestWindow = ({ batch, window }: Pick<WindowPass, "batch" | "window">): number =>
  Math.min(window, Math.max(...batch.windowLengths));

const windowReads = (own: WgslBatch, pass: WindowPass) => ({
  sequences: { buffer: windowsOf(pass), type: "i32" },
  windowQueries: { buffer: own.windowQueries, type: "vec4f" },
});

const windowDispatch = { side: "read", blocks: true, size: keyLanes } as const;

/** The first of two passes over the keys of an arena: softmax statistics of every query. */
export function recordWindowStatistics(
  recorder: WgslRecorder,
  own: WgslBatch,
  arena: WgslArena,
  pass: WindowPass,
): WindowStatistics {
  const { batch, scale } = pass;
  const maxVectors = longestWindow(pass) * groupSize(batch.shape);
  const mostSplits = Math.max(1, Math.floor(mostStatistics / maxVectors));
  const numSplits = Math.max(1, Math.min(mostSplits, Math.ceil(arena.longestRow / keysPerSplit)));
  const { numLayers } = batch.shape;
  const numbers = { numLayers, windowSize: own.windowSize, maxVectors, numSplits };
  const statistics = recorder.tensor("f32", 2 * batch.numRows * maxVectors * numSplits);
  recorder.dispatch(
    rowDispatch(own, arena, {
      ...windowDispatch,
      name: "window statistics",
      perRow: numSplits * Math.ceil(maxVectors / vectorTile),
      declarations: `${windowCode(batch)}${joinedCode}
var<workgroup> parts: array<vec2f, ${vectorTile * keyLanes}>;
`,
      body: statisticsCode,
      u32: numbers,
      f32: { scale },
      reads: windowReads(own, pass),
      writes: { statistics: { buffer: statistics, type: "vec2f" } },
    }),
  );
  const { window } = pass;
  return { batch, window, scale, own, arena, statistics, numbers };
}

export interface WindowSumsParams {
  readonly power: 1 | 2;
  /** Weights of keys closer than this many positions to the query count as 0. */
  readonly buffer: number;
  /** Queries that are summed apart. */
  readonly slabSize: number;
  /** Which slabs, from the one of the oldest query on. */
  readonly firstSlab: number;
  readonly numSlabs: number;
  /** f32 [numSlabs, groupSize, totalSlots]: sums of weights. */
  readonly sums: Tensor;
}

/**
 * The second pass: sums of weights of every key. Logits are computed again, so that memory does not
 * grow with the window.
 */
export function recordWindowSums(
  recorder: WgslRecorder,
  { own, arena, statistics, numbers, ...pass }: WindowStatistics,
  { power, buffer, slabSize, firstSlab, numSlabs, sums }: WindowSumsParams,
): void {
  const { batch, scale } = pass;
  recorder.dispatch(
    rowDispatch(own, arena, {
      ...windowDispatch,
      name: "window sums",
      perRow: groupSize(batch.shape) * numSlabs * Math.ceil(arena.longestRow / keyLanes),
      declarations: `${windowCode(batch)}${joinedCode}
var<workgroup> softmaxes: array<vec2f, ${vectorTile}>;
`,
      body: weightsCode(power),
      u32: { ...numbers, firstSlab, numSlabs, slabSize, totalSlots: batch.totalSlots },
      i32: { buffer },
      f32: { scale },
      reads: { ...windowReads(own, pass), statistics: { buffer: statistics, type: "vec2f" } },
      writes: { sums: { buffer: sums, type: "f32" } },
    }),
  );
}
