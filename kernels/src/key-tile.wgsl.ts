import { unrolled } from "./quads.ts";

/** Keys of a tile, and threads that make its logits. */
export const tileKeys = 128;
export const tileThreads = 128;
/** Threads that share a key, and keys of a thread. */
const vectorLanes = 8;
const keyLanes = tileThreads / vectorLanes;
const keysOfThread = tileKeys / keyLanes;
/** Quads of the heads' dimension that are staged at a time. */
const depth = 4;
const keyStride = tileKeys + 2;
const keysOfLoad = tileThreads / depth;
const keyLoads = tileKeys / keysOfLoad;

/** A tile of logits, 128 keys × some query vectors, as 128 threads hold it. */
export interface KeyTile {
  /** Vectors of the tile: 8, 16 or 32. */
  readonly vectors: number;
  /** Vectors of a thread. */
  readonly ofThread: number;
  readonly keysOfThread: number;
  /** Threads that hold parts of one vector's logits, and of one key's. */
  readonly keyLanes: number;
  readonly vectorLanes: number;
  /**
   * WGSL in front of the kernel: types `Floats`, `Ints`, `Bools` of a number for each vector of a
   * thread, `sumOf(Floats)`, and the functions `keyAt(lane, i)`, `vectorAt(lane)`: places in the tile
   * of a thread's keys and vectors. Needs arena-rows' functions, `side` and `windowQueries`.
   */
  readonly declarations: string;
  /**
   * WGSL: makes `logits: array<Floats>`, products of each of the thread's keys with its vectors.
   * Knows `row`, `lane`; the keys stand from `firstKey` on, before `endKey`; `queryBases` has the
   * vectors' first quads. Afterwards `places` has the positions of the tile's keys.
   */
  readonly logits: string;
}

const vectorTypes = { 1: ["f32", "i32", "bool"], 2: ["vec2f", "vec2i", "vec2<bool>"] } as const;

/**
 * A thread holds 8 keys × up to 4 vectors in registers; keys and queries pass through workgroup
 * memory some quads at a time, the next ones on their way while these are multiplied.
 */
export function keyTile(quads: number, numVectors: number): KeyTile {
  const ofThread = ([1, 2] as const).find((count) => numVectors <= count * vectorLanes) ?? 4;
  const vectors = ofThread * vectorLanes;
  const queryStride = vectors + 1;
  const ragged = quads % depth !== 0;
  const [floats, ints, bools] =
    ofThread === 4 ? (["vec4f", "vec4i", "vec4<bool>"] as const) : vectorTypes[ofThread];
  const queryLoads = Math.ceil(vectors / keysOfLoad);
  const eachLoad = (text: (n: number) => string) => unrolled(keyLoads, text);
  const eachQuery = (text: (n: number, exists: string) => string) =>
    unrolled(queryLoads, (n) => text(n, `if (lane < ${depth * (vectors - n * keysOfLoad)}u)`));
  const ofVectors = (text: (v: number) => string) =>
    Array.from({ length: ofThread }, (_, v) => text(v)).join(", ");
  // One product at a time: see `growing`.
  const eachPart = (text: (x: string) => string) => [..."xyzw"].map(text).join(" ");
  const inside = (c: string, text: string) =>
    ragged ? `if (${c} + lane % ${depth}u < quads) { ${text} }` : text;
  const loadAt = (c: string) => /* wgsl */ `
    ${inside(
      c,
      eachLoad((n) => `key${n} = toQuad(blocks[base${n} + ${c}]);`),
    )}
    ${inside(
      c,
      eachQuery((n, exists) => `${exists} { query${n} = windowQueries[queryBase${n} + ${c}]; }`),
    )}`;
  return {
    vectors,
    ofThread,
    keysOfThread,
    keyLanes,
    vectorLanes,
    declarations: /* wgsl */ `
alias Floats = ${floats};
alias Ints = ${ints};
alias Bools = ${bools};
fn sumOf(x: Floats) -> f32 { return ${ofThread === 1 ? "x" : "dot(x, Floats(1.0))"}; }
fn keyAt(lane: u32, i: u32) -> u32 { return lane / ${vectorLanes}u + i * ${keyLanes}u; }
fn vectorAt(lane: u32) -> Ints { return Ints(i32(lane % ${vectorLanes}u)) + Ints(${ofVectors((v) => `${v * vectorLanes}`)}); }
var<workgroup> keyQuads: array<vec4f, ${depth * keyStride}>;
var<workgroup> queryQuads: array<vec4f, ${depth * queryStride}>;
var<workgroup> queryBases: array<u32, ${vectors}>;
var<workgroup> keyBases: array<u32, ${tileKeys}>;
var<workgroup> places: array<i32, ${tileKeys}>;
`,
    logits: /* wgsl */ `
  workgroupBarrier();
  for (var k = lane; k < ${tileKeys}u; k += ${tileThreads}u) {
    let slot = slotOf(row, min(firstKey + k, endKey - 1u));
    keyBases[k] = keyOf(slot);
    places[k] = bitcast<i32>(side[slot]);
  }
  workgroupBarrier();
  var logits = array<Floats, ${keysOfThread}>();
  {
    ${eachLoad((n) => `let base${n} = keyBases[lane / ${depth}u + ${n * keysOfLoad}u] + lane % ${depth}u; var key${n} = vec4f();`)}
    ${eachQuery((n) => `let queryBase${n} = queryBases[min(lane / ${depth}u + ${n * keysOfLoad}u, ${vectors - 1}u)] + lane % ${depth}u; var query${n} = vec4f();`)}
    ${loadAt("0u")}
    for (var c = 0u; c < quads; c += ${depth}u) {
      ${eachLoad((n) => `keyQuads[lane % ${depth}u * ${keyStride}u + lane / ${depth}u + ${n * keysOfLoad}u] = key${n};`)}
      ${eachQuery((n, exists) => `${exists} { queryQuads[lane % ${depth}u * ${queryStride}u + lane / ${depth}u + ${n * keysOfLoad}u] = query${n}; }`)}
      workgroupBarrier();
      ${ragged ? `${eachLoad((n) => `key${n} = vec4f();`)} ${eachQuery((n) => `query${n} = vec4f();`)}` : ""}
      let next = c + ${depth}u;
      if (next < quads) { ${loadAt("next")} }
      for (var d = 0u; d < ${depth}u; d++) {
        ${unrolled(ofThread, (v) => `let q${v} = queryQuads[d * ${queryStride}u + lane % ${vectorLanes}u + ${v * vectorLanes}u];`)}
        ${eachPart((x) => `let q_${x} = Floats(${ofVectors((v) => `q${v}.${x}`)});`)}
        ${unrolled(
          keysOfThread,
          (i) =>
            `{ let k = keyQuads[d * ${keyStride}u + keyAt(lane, ${i}u)]; ${eachPart((x) => `logits[${i}] += q_${x} * k.${x};`)} }`,
        )}
      }
      workgroupBarrier();
    }
  }
`,
  };
}
