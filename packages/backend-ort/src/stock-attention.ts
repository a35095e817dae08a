import { groupSize, signalFlag } from "@kvcache/core";
import { gatherKeys, gatherPositions, gatherValues, rowView, slotOf } from "@kvcache/kernels";
import type { InferenceSession, Tensor } from "onnxruntime-node";
import { cachedCausalMask, countedBeyond, slidingMask } from "./attention-mask.ts";
import { type AttentionVariant, attentionModel } from "./attention-model.ts";
import type { AttentionNode } from "./graph-segments.ts";
import { encodeModel } from "./onnx-model.ts";
import { rethrowOrtError } from "./ort-error.ts";
import { createStockSession, type StockOrt, stockTensor } from "./stock-ort.ts";
import { keepQueries, type LayerStep, writeEntries } from "./write-step.ts";

/** Logits computed at once: 16 MB. */
const maxLogits = 1 << 22;

/** Paged attention on stock sessions: rows of the cache are gathered, masks made by positions. */
export interface StockAttention {
  /** Does what the kernel paged-attention does; out is f32 [T, numQueryHeads × headDim]. */
  run(layerStep: LayerStep, node: AttentionNode, out: Float32Array): Promise<void>;
  dispose(): Promise<void>;
}

export function createStockAttention(ort: StockOrt, threads: number): StockAttention {
  const sessions = new Map<string, Promise<InferenceSession>>();
  const sessionFor = (variant: AttentionVariant) => {
    const key = JSON.stringify(variant);
    let session = sessions.get(key);
    if (!session) {
      session = createStockSession(ort, encodeModel(attentionModel(variant)), threads);
      sessions.set(key, session);
    }
    return session;
  };
  const floats = (data: Float32Array, ...dims: number[]) =>
    stockTensor(ort, { type: "f32", data, dims });
  const causalMask = cachedCausalMask();

  async function attendRow(
    { host, step, layer, query }: LayerStep,
    node: AttentionNode,
    s: number,
    head: number,
    out: Float32Array,
  ): Promise<void> {
    const { shape } = host.layout;
    const { headDim } = shape;
    const perGroup = groupSize(shape);
    const width = shape.numQueryHeads * headDim;
    const end = step.cuTokens[s + 1]!;
    const row = rowView(host, step.sequences[s]!, layer, head);
    const keys = gatherKeys(row);
    const values = gatherValues(row);
    const positions = gatherPositions(row);
    const flags = step.signalFlags[s]!;
    const wanted = flags & (signalFlag.sumAttention | signalFlag.sumSquaredAttention);
    const session = await sessionFor({ softcap: node.softcap !== undefined, sums: wanted !== 0 });
    const scale = node.softcap === undefined ? node.scale : node.scale / node.softcap;

    const chunk = Math.max(16, Math.floor(maxLogits / (perGroup * row.length)));
    for (let first = step.cuTokens[s]!; first < end; first += chunk) {
      const tokens = Math.min(chunk, end - first);
      const own = step.positions.subarray(first, first + tokens);
      const visible = row.length - end + first + tokens;
      const seen = positions.subarray(0, visible);
      const queries = new Float32Array(perGroup * tokens * headDim);
      for (let g = 0; g < perGroup; g++)
        for (let t = 0; t < tokens; t++) {
          const from = (first + t) * width + (head * perGroup + g) * headDim;
          const to = (g * tokens + t) * headDim;
          for (let i = 0; i < headDim; i++) queries[to + i] = query[from + i]! * scale;
        }
      const mask =
        node.slidingWindow === undefined
          ? causalMask(tokens, visible)
          : slidingMask(own, seen, node.slidingWindow);
      const feeds: Record<string, Tensor> = {
        query: floats(queries, perGroup, tokens, headDim),
        key: floats(keys.subarray(0, visible * headDim), visible, headDim),
        value: floats(values.subarray(0, visible * headDim), visible, headDim),
        mask: floats(mask, tokens, visible),
      };
      if (node.softcap !== undefined) feeds.softcap = floats(Float32Array.of(node.softcap));
      if (wanted) {
        const buffer = step.attentionBuffers[s]!;
        feeds.counted =
          buffer > 0
            ? floats(countedBeyond(own, seen, buffer), tokens, visible)
            : floats(Float32Array.of(1), 1, 1);
      }
      const results = await session.run(feeds).catch(rethrowOrtError);
      const attended = results.out!.data as Float32Array;
      for (let g = 0; g < perGroup; g++)
        for (let t = 0; t < tokens; t++) {
          const from = (g * tokens + t) * headDim;
          out.set(
            attended.subarray(from, from + headDim),
            (first + t) * width + (head * perGroup + g) * headDim,
          );
        }
      const add = (name: string, table: Float32Array) => {
        const sums = results[name]!.data as Float32Array;
        for (let j = 0; j < visible; j++) table[slotOf(row, j)]! += sums[j]!;
      };
      if (wanted & signalFlag.sumAttention) add("sums", row.arena.sumAttention);
      if (wanted & signalFlag.sumSquaredAttention) add("squares", row.arena.sumSquaredAttention);
    }
  }

  return {
    async run(layerStep, node, out) {
      const { host, step } = layerStep;
      for (let s = 0; s < step.sequences.length; s++) {
        if (step.cuTokens[s] === step.cuTokens[s + 1]) continue;
        writeEntries(layerStep, s);
        if (step.signalFlags[s]! & signalFlag.windowQueries) keepQueries(layerStep, s);
        for (let head = 0; head < host.layout.shape.numKvHeads; head++)
          await attendRow(layerStep, node, s, head, out);
      }
    },
    async dispose() {
      for (const session of sessions.values()) await (await session).release();
      sessions.clear();
    },
  };
}
