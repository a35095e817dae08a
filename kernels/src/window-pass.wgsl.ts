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
import { type KeyTile, keyTile, tileKeys, tileThreads } from "./key-tile.wgsl.ts";
import { unrolled } from "./quads.ts";

/** Keys that one workgroup takes the statistics of, where that leaves few enough statistics. */
const keysPerSplit = 2 * tileKeys;
const mostStatistics = 16384;
const softmaxLanes = 64;

/** What the last queries of a batch's sequences pay to its rows: see {@link recordWindowStatistics}. */
export interface WindowPass {
  readonly batch: KvBatch;
  readonly window: number;
  readonly scale: number;
}

/** WGSL: queries of a row's window; reads `sequences`. */
const observedCode = ({ shape }: KvBatch) => /* wgsl */ `
const lowest = -3.0e38;
const groupSize = ${groupSize(shape)}u;
fn observedOf(row: Row) -> u32 { return u32(sequences[2u * row.sequence + 1u]); }
`;

/** WGSL: the window of a row's sequence; reads `sequences` and `windowQueries`. */
const windowCode = (batch: KvBatch) => /* wgsl */ `
${observedCode(batch)}
const numQueryHeads = ${batch.shape.numQueryHeads}u;
fn nextOf(row: Row) -> i32 { return sequences[2u * row.sequence]; }
/** First quad of the query of a head of the row's group, by its place in the window. */
fn queryOf(row: Row, i: u32, member: u32) -> u32 {
  let position = u32(nextOf(row)) - observedOf(row) + i;
  let ring = (row.slot * params.numLayers + row.layer) * params.windowSize + position % params.windowSize;
  return (ring * numQueryHeads + row.head * groupSize + member) * quads;
}
`;

/** i32 [sequences, 2]: next position, and observed queries. */
export const windowsOf = ({ batch, window }: WindowPass): Tensor =>
  hostTensor(
    Int32Array.from(
      batch.nextPositions.flatMap((next, i) => [next, Math.min(window, batch.windowLengths[i]!)]),
    ),
  );

const eachKey = ({ keysOfThread }: KeyTile, text: string) =>
  `for (var i = 0u; i < ${keysOfThread}u; i++) { let key = keyAt(lane, i); ${text} }`;

const eachVector = ({ ofThread }: KeyTile, text: (component: string, vector: string) => string) =>
  unrolled(ofThread, (v) =>
    text(
      ofThread === 1 ? "" : `[${v}]`,
      ofThread === 1 ? "vectorAt(lane)" : `vectorAt(lane)[${v}]`,
    ),
  );

/** Part of a row's keys × a tile of its query vectors: largest logit and sum of exponentials of each. */
const statisticsCode = (tile: KeyTile) => /* wgsl */ `
  let split = part % params.numSplits;
  let firstVector = part / params.numSplits * ${tile.vectors}u;
  let observed = observedOf(row);
  let numVectors = observed * groupSize;
  if (firstVector >= numVectors) { return; }
  if (lane < ${tile.vectors}u) {
    let v = min(firstVector + lane, numVectors - 1u);
    queryBases[lane] = queryOf(row, v / groupSize, v % groupSize);
  }
  let last = Ints(nextOf(row) - i32(observed)) + (Ints(i32(firstVector)) + vectorAt(lane)) / Ints(i32(groupSize));
  var best = Floats(lowest);
  var total = Floats();
  let perSplit = (row.length + params.numSplits - 1u) / params.numSplits;
  let endKey = min(row.length, (split + 1u) * perSplit);
  for (var firstKey = split * perSplit; firstKey < endKey; firstKey += ${tileKeys}u) {
    ${tile.logits}
    let before = best;
    ${eachKey(
      tile,
      /* wgsl */ `
      let seen = Bools(firstKey + key < endKey) & (Ints(places[key]) <= last);
      logits[i] = select(Floats(lowest), logits[i] * params.scale, seen);
      best = max(best, logits[i]);`,
    )}
    total *= exp(before - best);
    ${eachKey(tile, "total += select(Floats(), exp(logits[i] - best), logits[i] > Floats(lowest));")}
  }
  ${eachVector(tile, (component, vector) => `parts[u32(${vector}) * ${tile.keyLanes}u + lane / ${tile.vectorLanes}u] = vec2f(best${component}, total${component});`)}
  workgroupBarrier();
  if (lane < ${tile.vectors}u && firstVector + lane < numVectors) {
    var both = vec2f(lowest, 0.0);
    for (var k = 0u; k < ${tile.keyLanes}u; k++) { both = joined(both, parts[lane * ${tile.keyLanes}u + k]); }
    let v = row.index * params.maxVectors + firstVector + lane;
    statistics[v * params.numSplits + split] = both;
  }
`;

/** A query vector's parts: its largest logit, and what its exponentials are multiplied with. */
const softmaxCode = /* wgsl */ `
  if (part >= observedOf(row) * groupSize) { return; }
  let v = row.index * params.maxVectors + part;
  var both = vec2f(lowest, 0.0);
  for (var s = lane; s < params.numSplits; s += ${softmaxLanes}u) {
    both = joined(both, statistics[v * params.numSplits + s]);
  }
  parts[lane] = both;
  workgroupBarrier();
  if (lane < 8u) {
    for (var k = 1u; k < ${softmaxLanes / 8}u; k++) { both = joined(both, parts[lane + 8u * k]); }
    parts[lane] = both;
  }
  workgroupBarrier();
  if (lane == 0u) {
    for (var k = 1u; k < 8u; k++) { both = joined(both, parts[k]); }
    softmaxes[v] = vec2f(both.x, select(0.0, 1.0 / both.y, both.y > 0.0));
  }
`;

const joinedCode = /* wgsl */ `
fn joined(a: vec2f, b: vec2f) -> vec2f {
  let most = max(a.x, b.x);
  return vec2f(most, a.y * exp(a.x - most) + b.y * exp(b.x - most));
}
`;

/** WGSL: `most` and `factor`, the softmaxes of a thread's queries from `firstQuery` on, if before `end`. */
const softmaxesCode = (tile: KeyTile) => /* wgsl */ `
    let query = Ints(i32(firstQuery)) + vectorAt(lane);
    var most = Floats();
    var factor = Floats();
    ${eachVector(
      tile,
      (component) => /* wgsl */ `if (query${component} < i32(end)) {
      let softmax = softmaxes[row.index * params.maxVectors + u32(query${component}) * groupSize + member];
      most${component} = softmax.x;
      factor${component} = softmax.y;
    }`,
    )}
    let last = Ints(nextOf(row) - i32(observed)) + query;`;

/** WGSL: `weight`, what a thread's queries pay to its key `i`. */
const weightCode = (power: 1 | 2) => /* wgsl */ `
      let place = Ints(places[key]);
      var weight = exp(logits[i] * params.scale - most) * factor;
      ${power === 2 ? "weight *= weight;" : ""}
      weight = select(Floats(), weight, (place <= last) & (place <= last - Ints(params.buffer)) & (factor > Floats()));`;

/** A tile of keys × one query head × the queries of one slab. */
const sumsCode = (tile: KeyTile, power: 1 | 2) => /* wgsl */ `
  let firstKey = part / (groupSize * params.numSlabs) * ${tileKeys}u;
  let endKey = row.length;
  if (firstKey >= endKey) { return; }
  let member = part % groupSize;
  let slab = part / groupSize % params.numSlabs;
  let observed = observedOf(row);
  let first = (params.firstSlab + slab) * params.slabSize;
  let end = min(observed, first + params.slabSize);
  var own = array<f32, ${tile.keysOfThread}>();
  for (var firstQuery = first; firstQuery < end; firstQuery += ${tile.vectors}u) {
    if (lane < ${tile.vectors}u) { queryBases[lane] = queryOf(row, min(firstQuery + lane, end - 1u), member); }
    ${tile.logits}
    ${softmaxesCode(tile)}
    ${eachKey(tile, `${weightCode(power)} own[i] += sumOf(weight);`)}
  }
  ${eachKey(tile, `parts[lane % ${tile.vectorLanes}u * ${tileKeys}u + key] = own[i];`)}
  workgroupBarrier();
  for (var key = lane; key < min(endKey - firstKey, ${tileKeys}u); key += ${tileThreads}u) {
    var sum = 0.0;
    for (var k = 0u; k < ${tile.vectorLanes}u; k++) { sum += parts[k * ${tileKeys}u + key]; }
    sums[(slab * groupSize + member) * params.totalSlots + row.begin + firstKey + key] = sum;
  }
`;

/** A tile of keys × one query head × a tile of queries that are not summed up. */
const singlesCode = (tile: KeyTile, power: 1 | 2) => /* wgsl */ `
  let queryTiles = (params.numSlabs + ${tile.vectors - 1}u) / ${tile.vectors}u;
  let firstKey = part / (groupSize * queryTiles) * ${tileKeys}u;
  let endKey = row.length;
  if (firstKey >= endKey) { return; }
  let member = part % groupSize;
  let observed = observedOf(row);
  let firstQuery = params.firstSlab + part / groupSize % queryTiles * ${tile.vectors}u;
  let endSlab = i32(params.firstSlab + params.numSlabs);
  let end = observed;
  if (lane < ${tile.vectors}u) { queryBases[lane] = queryOf(row, min(firstQuery + lane, max(observed, 1u) - 1u), member); }
  ${tile.logits}
  ${softmaxesCode(tile)}
  ${eachKey(
    tile,
    /* wgsl */ `
    ${weightCode(power)}
    if (firstKey + key < endKey) {
      ${eachVector(
        tile,
        (component) => /* wgsl */ `if (query${component} < endSlab) {
        let at = (u32(query${component}) - params.firstSlab) * groupSize + member;
        sums[at * params.totalSlots + row.begin + firstKey + key] = weight${component};
      }`,
      )}
    }`,
  )}
`;

/** What {@link recordWindowStatistics} leaves for {@link recordWindowSums}. */
export interface WindowStatistics extends WindowPass {
  readonly own: WgslBatch;
  readonly arena: WgslArena;
  /** f32 [numRows, maxVectors, 2]: largest logit, and what exponentials are multiplied with. */
  readonly softmaxes: Tensor;
  readonly numbers: Readonly<Record<string, number>>;
}

/** Queries that a batch has of a window, at most. */
export const longestWindow = ({ batch, window }: Pick<WindowPass, "batch" | "window">): number =>
  Math.min(window, Math.max(...batch.windowLengths));

const windowReads = (own: WgslBatch, pass: WindowPass) => ({
  sequences: { buffer: windowsOf(pass), type: "i32" },
  windowQueries: { buffer: own.windowQueries, type: "vec4f" },
});

const windowDispatch = { side: "read", blocks: true, size: tileThreads } as const;
const quadsOf = ({ layout }: WgslArena) => layout.key.width / 4;

/** The first of two passes over the keys of an arena: softmax statistics of every query. */
export function recordWindowStatistics(
  recorder: WgslRecorder,
  own: WgslBatch,
  arena: WgslArena,
  pass: WindowPass,
): WindowStatistics {
  const { batch, scale, window } = pass;
  const maxVectors = longestWindow(pass) * groupSize(batch.shape);
  const mostSplits = Math.max(1, Math.floor(mostStatistics / maxVectors));
  const numSplits = Math.max(1, Math.min(mostSplits, Math.ceil(arena.longestRow / keysPerSplit)));
  const { numLayers } = batch.shape;
  const tile = keyTile(quadsOf(arena), maxVectors);
  const numbers = { numLayers, windowSize: own.windowSize, maxVectors };
  const numVectors = batch.numRows * maxVectors;
  const statistics = recorder.tensor("f32", 2 * numVectors * numSplits);
  const softmaxes = recorder.tensor("f32", 2 * numVectors);
  recorder.dispatch(
    rowDispatch(own, arena, {
      ...windowDispatch,
      name: "window statistics",
      perRow: numSplits * Math.ceil(maxVectors / tile.vectors),
      declarations: `${windowCode(batch)}${joinedCode}${tile.declarations}
var<workgroup> parts: array<vec2f, ${tile.vectors * tile.keyLanes}>;
`,
      body: statisticsCode(tile),
      u32: { ...numbers, numSplits },
      f32: { scale },
      reads: windowReads(own, pass),
      writes: { statistics: { buffer: statistics, type: "vec2f" } },
    }),
  );
  recorder.dispatch(
    rowDispatch(own, arena, {
      side: "none",
      size: softmaxLanes,
      name: "window softmaxes",
      perRow: maxVectors,
      declarations: `${observedCode(batch)}${joinedCode}
var<workgroup> parts: array<vec2f, ${softmaxLanes}>;
`,
      body: softmaxCode,
      u32: { maxVectors, numSplits },
      reads: {
        sequences: { buffer: windowsOf(pass), type: "i32" },
        statistics: { buffer: statistics, type: "vec2f" },
      },
      writes: { softmaxes: { buffer: softmaxes, type: "vec2f" } },
    }),
  );
  return { batch, window, scale, own, arena, softmaxes, numbers };
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
  { own, arena, softmaxes, numbers, ...pass }: WindowStatistics,
  { power, buffer, slabSize, firstSlab, numSlabs, sums }: WindowSumsParams,
): void {
  const { batch, scale } = pass;
  const singles = slabSize === 1;
  const tile = keyTile(quadsOf(arena), singles ? numSlabs : slabSize);
  const perTile =
    groupSize(batch.shape) * (singles ? Math.ceil(numSlabs / tile.vectors) : numSlabs);
  recorder.dispatch(
    rowDispatch(own, arena, {
      ...windowDispatch,
      name: "window sums",
      perRow: perTile * Math.ceil(arena.longestRow / tileKeys),
      declarations: `${windowCode(batch)}${tile.declarations}
${singles ? "" : `var<workgroup> parts: array<f32, ${tile.vectorLanes * tileKeys}>;`}
`,
      body: (singles ? singlesCode : sumsCode)(tile, power),
      u32: {
        ...numbers,
        firstSlab,
        numSlabs,
        totalSlots: batch.totalSlots,
        ...(!singles && { slabSize }),
      },
      i32: { buffer },
      f32: { scale },
      reads: { ...windowReads(own, pass), softmaxes: { buffer: softmaxes, type: "vec2f" } },
      writes: { sums: { buffer: sums, type: "f32" } },
    }),
  );
}
