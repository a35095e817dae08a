import { blocksFor, type CacheManager } from "@kvcache/core";

/** Block arithmetic of one cache; every answer is [number of arenas]. */
export interface BlockAccount {
  readonly totals: readonly number[];
  /** Rows of a sequence that own blocks: what one more token takes at most. */
  readonly rows: readonly number[];
  /**
   * Blocks of a sequence that saw `tokens` tokens, fed at most `chunk` at a time: rows of sliding
   * windows hold no more than the window and a chunk.
   */
  forTokens(tokens: number, chunk?: number): number[];
  /** Blocks of a sequence with these row lengths: [numRows]. */
  forLengths(lengths: Uint32Array): number[];
  /** Blocks that are free or reclaimable and not promised to anybody. */
  available(): number[];
}

export function createBlockAccount(cache: CacheManager, maxBatchTokens: number): BlockAccount {
  const { shape, layerMap, arenaOfLayer, arenas, slidingWindow } = cache.layout;
  const owners = layerMap.flatMap((owner, layer) => (owner === layer ? [layer] : []));
  const perArena = (blocksOf: (layer: number, blockSize: number) => number): number[] => {
    const blocks = arenas.map(() => 0);
    for (const layer of owners) {
      const arena = arenaOfLayer[layer]!;
      blocks[arena]! += blocksOf(layer, arenas[arena]!.blockSize);
    }
    return blocks;
  };
  return Object.freeze({
    totals: cache.stats().arenas.map(({ totalBlocks }) => totalBlocks),
    rows: perArena(() => shape.numKvHeads),
    forTokens: (tokens: number, chunk = maxBatchTokens) =>
      perArena((layer, blockSize) => {
        const window = slidingWindow[layer] ?? Number.POSITIVE_INFINITY;
        const most = Math.min(tokens, window + blockSize - 2 + chunk);
        return shape.numKvHeads * blocksFor(most, blockSize);
      }),
    forLengths: (lengths: Uint32Array) =>
      perArena((layer, blockSize) => {
        let blocks = 0;
        for (let head = 0; head < shape.numKvHeads; head++)
          blocks += blocksFor(lengths[layer * shape.numKvHeads + head]!, blockSize);
        return blocks;
      }),
    available: () =>
      cache
        .stats()
        .arenas.map((arena) => arena.freeBlocks + arena.reclaimableBlocks - arena.reservedBlocks),
  });
}
