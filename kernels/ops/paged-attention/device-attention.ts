import type { WgslBuffer } from "@kvcache/core";
import type { QuadDtype } from "../../src/quads.ts";

/** Query vectors (token × query head of a group) that a workgroup takes through a row together. */
export const vectorTile = 8;
/** Widest head that the kernels can take: what workgroup memory holds of the queries. */
export const maxHeadDim = 256;

/** Where the parts of a step begin in its buffer (i32). S sequences, T tokens. */
export interface StepSections {
  /** [S + 1]. */
  readonly cuTokens: number;
  /** [S]: cache slots. */
  readonly sequences: number;
  /** [T]: true positions. */
  readonly positions: number;
  /** [T]: index of the sequence of each token. */
  readonly tokenSequences: number;
  /** [S]. */
  readonly signalFlags: number;
  /** [S]. */
  readonly attentionBuffers: number;
  /** [numTiles, 2]: sequence, first vector of a tile of its tokens × groupSize vectors. */
  readonly tiles: number;
}

/** One layer's attention over a cache on a device. */
export interface DeviceAttention {
  readonly step: WgslBuffer;
  readonly sections: StepSections;
  readonly numSequences: number;
  readonly numTokens: number;
  readonly numTiles: number;
  /** Parts of `splitKeys` keys that rows are cut into, so that a long row keeps many workgroups busy. */
  readonly numSplits: number;
  readonly splitKeys: number;
  /** Sums by subgroups where the device has them: tier T1. */
  readonly subgroups?: boolean;
  /** The cache: see core's WgslBatch and WgslArena. */
  readonly tables: WgslBuffer;
  readonly lengthsAt: number;
  readonly maxBlocksPerRow: number;
  readonly storage: WgslBuffer;
  readonly side: WgslBuffer;
  readonly numSlots: number;
  readonly dtype: QuadDtype;
  readonly blockSize: number;
  readonly windowQueries: WgslBuffer;
  readonly windowSize: number;
  /** Rows of the tables per sequence, and row of this layer's first head (of its owner's). */
  readonly rowsPerSequence: number;
  readonly layerRow: number;
  readonly layer: number;
  readonly numLayers: number;
  /** Whether the layer writes keys and values: it owns its blocks. */
  readonly owner: boolean;
  readonly numQueryHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly scale: number;
  readonly slidingWindow?: number | undefined;
  readonly softcap?: number | undefined;
  /** f32 [T, numQueryHeads × headDim], and [T, numKvHeads × headDim] for key and value. */
  readonly query: WgslBuffer;
  readonly key: WgslBuffer;
  readonly value: WgslBuffer;
  readonly out: WgslBuffer;
  /** f32 scratch: [numSplits, T × numQueryHeads, headDim], [numSplits, T × numQueryHeads, 2]. */
  readonly partials: WgslBuffer;
  readonly partialStats: WgslBuffer;
  /** f32 [T × numQueryHeads, 2]: largest logit and sum of exponentials of each query. */
  readonly stats: WgslBuffer;
}

/** WGSL: tables and slots of a row. Reads `tables`, `params.lengthsAt` and what is named here. */
export const rowCode = ({ blockSize, headDim }: DeviceAttention) => /* wgsl */ `
const blockSize = ${blockSize}u;
const quads = ${headDim / 4}u;
fn rowLength(row: u32) -> u32 { return u32(tables[params.lengthsAt + row]); }
fn slotOf(row: u32, j: u32) -> u32 {
  return u32(tables[row * params.maxBlocksPerRow + j / blockSize]) * blockSize + j % blockSize;
}
/** First quad of a slot's key; its value stands blockSize × quads behind it. */
fn keyOf(slot: u32) -> u32 {
  return (slot / blockSize * 2u * blockSize + slot % blockSize) * quads;
}
`;

/** WGSL: what attention makes of a product of query and key. */
export const logitCode = ({ softcap }: DeviceAttention) =>
  softcap === undefined
    ? "fn logitOf(product: f32) -> f32 { return product * params.scale; }"
    : // The clamp is for drivers whose tanh overflows: see gated-activation.
      `fn logitOf(product: f32) -> f32 {
  return params.softcap * tanh(clamp(product * params.scale / params.softcap, -15.0, 15.0));
}`;

/** Numbers that `logitCode` reads. */
export const logitParams = ({ scale, softcap }: DeviceAttention) =>
  softcap === undefined ? { scale } : { scale, softcap };
