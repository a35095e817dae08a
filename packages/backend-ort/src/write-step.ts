import {
  blockBytes,
  entryBytes,
  floatsToHalves,
  type HostArena,
  type HostCache,
  KvCacheError,
} from "@kvcache/core";
import { type AttentionStep, rowView, slotOf } from "@kvcache/kernels";

/** Keys, values and queries of one layer of a step, f32 [T, heads × headDim], after RoPE. */
export interface LayerStep {
  readonly host: HostCache;
  readonly step: AttentionStep;
  readonly layer: number;
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
}

/**
 * Stores the keys and values of sequence s (index in the step) in the last slots of its rows, with
 * attention sums of 0, unless the layer reads another's blocks. Throws `invalid-argument` when
 * `cache.append` did not make room.
 */
export function writeEntries({ host, step, layer, key, value }: LayerStep, s: number): void {
  const { shape, layerMap } = host.layout;
  const begin = step.cuTokens[s]!;
  const end = step.cuTokens[s + 1]!;
  const width = shape.numKvHeads * shape.headDim;
  for (let head = 0; head < shape.numKvHeads; head++) {
    const row = rowView(host, step.sequences[s]!, layer, head);
    if (row.length < end - begin)
      throw new KvCacheError(
        "invalid-argument",
        `Sequence ${step.sequences[s]} has room for ${row.length} tokens, the step brings ${end - begin}.`,
        { value: end - begin, remedy: "Call cache.append before the step." },
      );
    if (layerMap[layer] !== layer) continue;
    const writeKey = entryWriter(row.arena, "key");
    const writeValue = entryWriter(row.arena, "value");
    for (let token = begin; token < end; token++) {
      const slot = slotOf(row, row.length - end + token);
      const at = token * width + head * shape.headDim;
      writeKey(slot, key.subarray(at, at + shape.headDim));
      writeValue(slot, value.subarray(at, at + shape.headDim));
      row.arena.sumAttention[slot] = 0;
      row.arena.sumSquaredAttention[slot] = 0;
    }
  }
}

/** Copies the last windowSize queries of sequence s to the cache's ring. */
export function keepQueries({ host, step, layer, query }: LayerStep, s: number): void {
  const { windowSize, windowQueries } = host;
  const { numLayers, numQueryHeads, headDim } = host.layout.shape;
  const width = numQueryHeads * headDim;
  const end = step.cuTokens[s + 1]!;
  const ring = (step.sequences[s]! * numLayers + layer) * windowSize;
  for (let token = Math.max(step.cuTokens[s]!, end - windowSize); token < end; token++)
    windowQueries.set(
      query.subarray(token * width, (token + 1) * width),
      (ring + (step.positions[token]! % windowSize)) * width,
    );
}

/** Stores one key or value at a physical slot of an arena. */
function entryWriter(
  { layout, storage }: HostArena,
  side: "key" | "value",
): (slot: number, numbers: Float32Array) => void {
  const { dtype, width, metaBytes } = layout[side];
  if ((dtype !== "f32" && dtype !== "f16") || metaBytes !== 0)
    throw new KvCacheError("unsupported", `This backend cannot store ${side}s as ${dtype}.`, {
      value: layout[side],
      remedy: "Use a cache of f32 or f16, or another backend.",
    });
  const unit = dtype === "f32" ? 4 : 2;
  const place = [storage.buffer, storage.byteOffset, storage.byteLength / unit] as const;
  const memory = dtype === "f32" ? new Float32Array(...place) : new Uint16Array(...place);
  const stride = blockBytes(layout) / unit;
  const base = side === "key" ? 0 : (layout.blockSize * entryBytes(layout.key)) / unit;
  return (slot, numbers) => {
    const block = Math.floor(slot / layout.blockSize);
    const at = block * stride + base + (slot % layout.blockSize) * width;
    if (memory instanceof Float32Array) memory.set(numbers, at);
    else floatsToHalves(numbers, memory.subarray(at, at + width));
  };
}
