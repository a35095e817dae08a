import {
  defineKernel,
  groupSize,
  type HostCache,
  KvCacheError,
  type StepInput,
  signalFlag,
} from "@kvcache/core";
import { entryStore } from "../../src/entry-store.ts";
import { dotRows, softmaxInPlace } from "../../src/row-math.ts";
import { gatherKeys, gatherPositions, gatherValues, rowView, slotOf } from "../../src/row-view.ts";

/** The part of a step that attention reads. */
export type AttentionStep = Pick<
  StepInput,
  "cuTokens" | "positions" | "sequences" | "signalFlags" | "attentionBuffers"
>;

export interface PagedAttentionParams {
  readonly cache: HostCache;
  readonly step: AttentionStep;
  readonly layer: number;
  /** Factor on the logits, usually 1 / √headDim. */
  readonly scale: number;
  /** A query at p sees positions p − slidingWindow + 1 … p. */
  readonly slidingWindow?: number | undefined;
  /** Logits become softcap × tanh(logit / softcap). */
  readonly softcap?: number | undefined;
  /** f32 [T, numQueryHeads × headDim], after RoPE. */
  readonly query: Float32Array;
  /** f32 [T, numKvHeads × headDim], after RoPE. */
  readonly key: Float32Array;
  /** f32 [T, numKvHeads × headDim]. */
  readonly value: Float32Array;
  /** f32 [T, numQueryHeads × headDim]. */
  readonly out: Float32Array;
}

/**
 * Attention over the paged cache, for prefill chunks and decoding alike. The cache was appended to
 * before, so the T_s new tokens of sequence s are the last T_s slots of each of its rows. Their keys
 * and values are written there (unless the layer reads another's blocks) and their attention sums
 * become 0; then each token sees all older slots of its row and the new ones up to its own. Signals
 * that a sequence's flags ask for go to the cache's side buffers.
 */
export const pagedAttention = defineKernel<PagedAttentionParams>({
  name: "paged-attention",
  reference(params) {
    for (const _ of pagedAttentionSteps(params));
  },
});

/** {@link pagedAttention} in short steps, for a caller that must not block its event loop. */
export function* pagedAttentionSteps(params: PagedAttentionParams): Generator<void> {
  const { step, cache } = params;
  for (let s = 0; s < step.sequences.length; s++) {
    if (step.cuTokens[s + 1] === step.cuTokens[s]) continue;
    checkAppended(params, s);
    writeEntries(params, s);
    if (step.signalFlags[s]! & signalFlag.windowQueries) keepQueries(params, s);
    for (let head = 0; head < cache.layout.shape.numKvHeads; head++)
      yield* attendRow(params, s, head);
  }
}

function checkAppended({ cache, layer, step }: PagedAttentionParams, s: number): void {
  const tokens = step.cuTokens[s + 1]! - step.cuTokens[s]!;
  for (let head = 0; head < cache.layout.shape.numKvHeads; head++) {
    const { length } = rowView(cache, step.sequences[s]!, layer, head);
    if (length < tokens)
      throw new KvCacheError(
        "invalid-argument",
        `Sequence ${step.sequences[s]} has room for ${length} tokens, the step brings ${tokens}.`,
        { value: tokens, remedy: "Call cache.append before the step." },
      );
  }
}

function writeEntries({ cache, layer, step, key, value }: PagedAttentionParams, s: number): void {
  const { shape, layerMap } = cache.layout;
  if (layerMap[layer] !== layer) return;
  const begin = step.cuTokens[s]!;
  const end = step.cuTokens[s + 1]!;
  for (let head = 0; head < shape.numKvHeads; head++) {
    const row = rowView(cache, step.sequences[s]!, layer, head);
    const { blockSize } = row.arena.layout;
    const keys = entryStore(row.arena, "key");
    const values = entryStore(row.arena, "value");
    for (let token = begin; token < end; token++) {
      const slot = slotOf(row, row.length - end + token);
      const block = Math.floor(slot / blockSize);
      const source = (token * shape.numKvHeads + head) * shape.headDim;
      keys.write(block, slot % blockSize, key, source);
      values.write(block, slot % blockSize, value, source);
      row.arena.sumAttention[slot] = 0;
      row.arena.sumSquaredAttention[slot] = 0;
    }
  }
}

/** Copies the step's last windowSize queries to the ring. */
function keepQueries({ cache, layer, step, query }: PagedAttentionParams, s: number): void {
  const { numLayers, numQueryHeads, headDim } = cache.layout.shape;
  const { windowSize } = cache;
  const width = numQueryHeads * headDim;
  const end = step.cuTokens[s + 1]!;
  const ring = (step.sequences[s]! * numLayers + layer) * windowSize;
  for (let token = Math.max(step.cuTokens[s]!, end - windowSize); token < end; token++)
    cache.windowQueries.set(
      query.subarray(token * width, (token + 1) * width),
      (ring + (step.positions[token]! % windowSize)) * width,
    );
}

/** Tokens that go through a row together: their queries share every load of keys and values. */
const tokenBlock = 4;

function* attendRow(params: PagedAttentionParams, s: number, head: number): Generator<void> {
  const { cache, step, layer, query, out } = params;
  const { numQueryHeads, headDim } = cache.layout.shape;
  const perGroup = groupSize(cache.layout.shape);
  const begin = step.cuTokens[s]!;
  const end = step.cuTokens[s + 1]!;
  const row = rowView(cache, step.sequences[s]!, layer, head);
  const { length } = row;
  const keys = { data: new Float64Array(gatherKeys(row)), stride: headDim };
  // Transposed, so that the sum of values under the weights is a product of rows too.
  const values = { data: transposed(gatherValues(row), length, headDim), stride: length };
  const positions = gatherPositions(row);
  const sums = attentionSums(params, s, positions);
  const blockRows = tokenBlock * perGroup;
  const queries = { data: new Float64Array(blockRows * headDim), stride: headDim };
  const weights = { data: new Float64Array(blockRows * length), stride: length };
  const results = { data: new Float64Array(blockRows * headDim), stride: headDim };

  for (let first = begin; first < end; first += tokenBlock) {
    const last = Math.min(end, first + tokenBlock);
    const numVectors = (last - first) * perGroup;
    const startOf = (token: number) => (token * numQueryHeads + head * perGroup) * headDim;
    for (let token = first; token < last; token++) {
      const from = startOf(token);
      const to = (token - first) * perGroup * headDim;
      queries.data.set(query.subarray(from, from + perGroup * headDim), to);
    }
    const visibleTo = (token: number) => length - end + token + 1;
    const visible = visibleTo(last - 1);
    dotRows(queries, numVectors, keys, visible, headDim, weights);
    for (let v = 0; v < numVectors; v++) {
      const token = first + Math.floor(v / perGroup);
      const position = step.positions[token]!;
      const own = visibleTo(token);
      toWeights(params, weights.data, v * length, own, positions, position);
      weights.data.fill(0, v * length + own, v * length + visible);
      sums?.add(weights.data, v * length, own, position);
    }
    dotRows(weights, numVectors, values, headDim, visible, results);
    for (let token = first; token < last; token++) {
      const from = (token - first) * perGroup * headDim;
      out.set(results.data.subarray(from, from + perGroup * headDim), startOf(token));
    }
    yield;
  }
  sums?.store((j) => slotOf(row, j), row.arena);
}

/** Scale, softcap, sliding window and softmax over weights[at … at + count). */
function toWeights(
  { scale, softcap, slidingWindow }: PagedAttentionParams,
  weights: Float64Array,
  at: number,
  count: number,
  positions: Int32Array,
  position: number,
): void {
  for (let j = at; j < at + count; j++) {
    const logit = weights[j]! * scale;
    weights[j] = softcap === undefined ? logit : softcap * Math.tanh(logit / softcap);
  }
  if (slidingWindow !== undefined)
    for (let j = 0; j < count; j++)
      if (positions[j]! <= position - slidingWindow) weights[at + j] = Number.NEGATIVE_INFINITY;
  softmaxInPlace(weights, at, count);
}

/** [length, width] → [width, length] in float64. */
function transposed(matrix: Float32Array, length: number, width: number): Float64Array {
  const out = new Float64Array(length * width);
  for (let j = 0; j < length; j++)
    for (let c = 0; c < width; c++) out[c * length + j] = matrix[j * width + c]!;
  return out;
}

/** Collects a row's Σa and Σa² over the step in float64, where the sequence's flags ask for it. */
function attentionSums({ step }: PagedAttentionParams, s: number, positions: Int32Array) {
  const flags = step.signalFlags[s]!;
  if ((flags & (signalFlag.sumAttention | signalFlag.sumSquaredAttention)) === 0) return undefined;
  const buffer = step.attentionBuffers[s]!;
  const sums = new Float64Array(positions.length);
  const squares = new Float64Array(positions.length);
  return {
    add(weights: Float64Array, at: number, count: number, position: number) {
      for (let j = 0; j < count; j++) {
        if (position - positions[j]! < buffer) continue;
        const weight = weights[at + j]!;
        sums[j] = sums[j]! + weight;
        squares[j] = squares[j]! + weight * weight;
      }
    },
    store(
      slot: (j: number) => number,
      arena: { sumAttention: Float32Array; sumSquaredAttention: Float32Array },
    ) {
      for (let j = 0; j < positions.length; j++) {
        const at = slot(j);
        if (flags & signalFlag.sumAttention) arena.sumAttention[at]! += sums[j]!;
        if (flags & signalFlag.sumSquaredAttention) arena.sumSquaredAttention[at]! += squares[j]!;
      }
    },
  };
}
