import type { KvShape } from "@kvcache/core";
import { gatherKeys, gatherPositions, rowView } from "./row-view.ts";
import { randomFloats, randomNumbers, testBatch, testCache } from "./test-cache.ts";

export interface WindowCacheOptions {
  readonly shape: KvShape;
  readonly tokens: number;
  readonly window: number;
  readonly seed: number;
  /** Rows lose a part of their tokens and their order. */
  readonly ragged?: boolean;
}

/** A cache of one sequence (slot 1) with random keys, values and last queries, and its attention. */
export function windowCache({ shape, tokens, window, seed, ragged = false }: WindowCacheOptions) {
  const random = randomNumbers(seed);
  const test = testCache(shape, { windowSize: window, blockSize: 4 });
  const { cache } = test;
  test.append(1, tokens);
  cache.windowQueries.set(randomFloats(random, cache.windowQueries.length, 1.5));
  const storage = cache.arenas[0]!.storage;
  const memory = new Float32Array(storage.buffer, storage.byteOffset, storage.byteLength / 4);
  memory.set(randomFloats(random, memory.length, 1.5));
  for (let layer = 0; layer < shape.numLayers && ragged; layer++)
    for (let head = 0; head < shape.numKvHeads; head++) {
      const slots = Array.from({ length: tokens }, (_, j) => j).filter(
        (j) => j >= tokens - window || random() < 0.7,
      );
      test.keep(
        1,
        layer,
        head,
        slots.sort(() => random() - 0.5),
      );
    }
  const group = shape.numQueryHeads / shape.numKvHeads;

  /** Weights of one query head, from the definition: one map position → weight for each query. */
  function attention(layer: number, queryHead: number): Map<number, number>[] {
    const view = rowView(cache, 1, layer, Math.floor(queryHead / group));
    const positions = [...gatherPositions(view)];
    const keys = gatherKeys(view);
    const { headDim, numQueryHeads, numLayers } = shape;
    return Array.from({ length: window }, (_, i) => {
      const position = tokens - window + i;
      const ring = (numLayers + layer) * window + (position % window);
      const query = (ring * numQueryHeads + queryHead) * headDim;
      const exps = new Map<number, number>();
      positions.forEach((own, slot) => {
        if (own > position) return;
        let dot = 0;
        for (let c = 0; c < headDim; c++)
          dot += cache.windowQueries[query + c]! * keys[slot * headDim + c]!;
        exps.set(own, Math.exp(dot / Math.sqrt(headDim)));
      });
      const sum = [...exps.values()].reduce((a, b) => a + b, 0);
      return new Map([...exps].map(([own, value]) => [own, value / sum]));
    });
  }
  return { cache, batch: testBatch(cache, [1]), attention, group };
}
