import {
  blockBytes,
  blocksFor,
  type CacheLayout,
  type HostArena,
  type HostCache,
  KvCacheError,
  numRows,
} from "@kvcache/core";
import { maxHolders } from "./block-pool.ts";

export interface HostMemoryOptions {
  readonly layout: CacheLayout;
  /** Sequences that may be open at once; 8 when absent. */
  readonly maxSequences?: number;
  /** Longest sequence, in tokens of one row. */
  readonly maxTokensPerSequence: number;
  /**
   * Bytes of keys and values over all arenas, shared out so that every arena holds the same number
   * of tokens. Positions and attention sums take 12 bytes a slot on top.
   */
  readonly memoryBytes?: number;
  /** Blocks of each arena, in place of `memoryBytes`. */
  readonly numBlocks?: number | readonly number[];
  /** Last queries kept per layer for scoring; 0 (none) when absent. */
  readonly windowSize?: number;
  /** Whether the memory is a SharedArrayBuffer that threads can see; true when absent. */
  readonly shared?: boolean;
}

/** Rows of one sequence that keep blocks in each arena: [numArenas]. */
function rowsPerArena(layout: CacheLayout): number[] {
  const rows = layout.arenas.map(() => 0);
  layout.layerMap.forEach((owner, layer) => {
    if (owner === layer) rows[layout.arenaOfLayer[layer]!]! += layout.shape.numKvHeads;
  });
  return rows;
}

function count(value: number, name: string, low: number, high = 2 ** 31 - 1): number {
  if (!Number.isInteger(value) || value < low || value > high)
    throw new KvCacheError(
      "invalid-argument",
      `${name} must be an integer in ${low} … ${high}, got ${value}.`,
      { value },
    );
  return value;
}

function blocksOfArenas({ layout, memoryBytes, numBlocks }: HostMemoryOptions): number[] {
  if ((memoryBytes === undefined) === (numBlocks === undefined))
    throw new KvCacheError("invalid-argument", "A cache takes its size from one number.", {
      value: { memoryBytes, numBlocks },
      remedy: "Give either memoryBytes or numBlocks.",
    });
  if (memoryBytes === undefined)
    return layout.arenas.map((_, arena) =>
      count(typeof numBlocks === "number" ? numBlocks : numBlocks![arena]!, "numBlocks", 1),
    );
  const rows = rowsPerArena(layout);
  const bytes = layout.arenas.reduce((sum, arena, i) => sum + rows[i]! * blockBytes(arena), 0);
  if (!(memoryBytes >= bytes))
    throw new KvCacheError(
      "invalid-argument",
      `memoryBytes is ${memoryBytes}, but one block for every row takes ${bytes} bytes.`,
      { value: memoryBytes, remedy: `Give at least ${bytes} bytes.` },
    );
  return rows.map((n) => Math.max(1, Math.floor((n * memoryBytes) / bytes)));
}

/** Allocates the arrays of a host cache: no sequence, no block in use. */
export function allocateHost(options: HostMemoryOptions): HostCache {
  const { layout, shared = true } = options;
  const { shape, arenas } = layout;
  const maxSequences = count(options.maxSequences ?? 8, "maxSequences", 1, maxHolders);
  const windowSize = count(options.windowSize ?? 0, "windowSize", 0);
  const blockSize = arenas[0]!.blockSize;
  if (arenas.some((arena) => arena.blockSize !== blockSize))
    throw new KvCacheError("invalid-argument", "All arenas must have the same block size.", {
      value: arenas.map((arena) => arena.blockSize),
    });
  const tokens = count(options.maxTokensPerSequence, "maxTokensPerSequence", 1);
  const maxBlocksPerRow = blocksFor(tokens, blockSize);
  const memory = (bytes: number): ArrayBuffer => {
    try {
      // Typed arrays accept both kinds; their types tell them apart only since ES2024.
      return (shared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes)) as ArrayBuffer;
    } catch (cause) {
      throw new KvCacheError("out-of-memory", `The platform refused ${bytes} bytes.`, {
        value: bytes,
        remedy: "Give the cache fewer bytes, or fewer and shorter sequences.",
        cause,
      });
    }
  };
  const rows = maxSequences * numRows(shape);
  const ring = windowSize * shape.numQueryHeads * shape.headDim;
  const blockTables = new Int32Array(memory(rows * maxBlocksPerRow * 4)).fill(-1);
  const arenaOfLayer = new Uint8Array(memory(maxSequences * shape.numLayers));
  for (let s = 0; s < maxSequences; s++) arenaOfLayer.set(layout.arenaOfLayer, s * shape.numLayers);

  return Object.freeze({
    layout,
    maxSequences,
    maxBlocksPerRow,
    arenas: blocksOfArenas(options).map((numBlocks, i): HostArena => {
      const slots = numBlocks * blockSize;
      return Object.freeze({
        layout: arenas[i]!,
        numBlocks,
        storage: new Uint8Array(memory(numBlocks * blockBytes(arenas[i]!))),
        positions: new Int32Array(memory(slots * 4)),
        sumAttention: new Float32Array(memory(slots * 4)),
        sumSquaredAttention: new Float32Array(memory(slots * 4)),
      });
    }),
    arenaOfLayer,
    blockTables,
    lengths: new Int32Array(memory(rows * 4)),
    nextPositions: new Int32Array(memory(maxSequences * 4)),
    windowSize,
    windowQueries: new Float32Array(memory(maxSequences * shape.numLayers * ring * 4)),
  });
}
