import type { BatchOptions, KvBatch } from "./batch.ts";
import type { Encoder } from "./encoder.ts";
import type { HostCache } from "./host-cache.ts";
import type { CacheLayout } from "./layout.ts";
import type { Tensor } from "./tensor.ts";

/** Index of a sequence in the cache's tables, given by `open` or `fork` and reused after `close`. */
export type SequenceSlot = number;

/** Kept slots per row in CSR form: row r keeps indices[indptr[r]] … ascending. */
export interface KeepSet {
  /** u32 [numRows + 1]. */
  readonly indptr: Tensor;
  /** u32, at least indptr[numRows] entries. */
  readonly indices: Tensor;
}

export interface CompactOptions {
  /**
   * Copies shared blocks that are kept whole, too: nobody else holds a block of the batch's rows
   * afterwards. Default false.
   */
  readonly unshare?: boolean;
}

export interface ArenaStats {
  readonly blockBytes: number;
  readonly totalBlocks: number;
  readonly freeBlocks: number;
  /** Blocks held only by the prefix index: given back when somebody needs them. */
  readonly reclaimableBlocks: number;
  /** Blocks promised by `reserve` and not yet taken. */
  readonly reservedBlocks: number;
}

export interface CacheStats {
  readonly arenas: readonly ArenaStats[];
  /** Bytes of all blocks that sequences or the prefix index hold. */
  readonly residentBytes: number;
  /** Tokens of all open sequences, per row on average. */
  readonly residentTokens: number;
  readonly capacityBytes: number;
  /** Bytes of what the prefix index holds, and of that what is pinned. */
  readonly prefixBytes: number;
  readonly pinnedBytes: number;
  readonly sequences: number;
}

export interface SequenceStats {
  /** Tokens cached per row [numRows]; an upper bound on a device, exact on the host. */
  readonly lengths: Uint32Array;
  readonly blocks: number;
  /** Bytes of the blocks that the sequence's tables name; shared blocks count for each holder. */
  readonly residentBytes: number;
  readonly nextPosition: number;
}

/** Names a prompt for reuse: two keys share a prefix while namespace and token ids agree. */
export interface PrefixKey {
  /** Model, weight format and caller's salt: prefixes never cross namespaces. */
  readonly namespace: string;
  readonly tokenIds: Int32Array;
  /** The caller's salt alone, for those who tell others about prefixes; the namespace has it too. */
  readonly salt?: string | undefined;
}

/** A wish that a prefix outlives others: it is given back last, as far as the cap on pins goes. */
export interface PrefixPin {
  /** Whole blocks of the prefix's first tokens. */
  readonly tokens: number;
  readonly milliseconds: number;
}

/** A block of tokens of an uncompressed prefix, behind the one before it. */
export interface PrefixGroup {
  readonly namespace: string;
  readonly tokenIds: Int32Array;
  /** Undefined at the start of a prompt. */
  readonly parent: PrefixGroup | undefined;
  readonly salt?: string | undefined;
}

/** Hears which uncompressed prefixes can be reused; called synchronously, with the same objects. */
export interface PrefixWatcher {
  stored(group: PrefixGroup): void;
  removed(group: PrefixGroup): void;
}

/**
 * Contents of the prefix index, out of it and into it. A block group of an uncompressed prefix is, in
 * these bytes, the block of every row that has blocks, ascending, as it stands in its arena: keys,
 * then values. A compressed prompt is what `exportSequence` makes of it.
 */
export interface PrefixExchange {
  /** Bytes of one block group. */
  readonly groupBytes: number;
  /**
   * A copy of the tokens start … stop − 1 (whole blocks) of a prefix; undefined where the index does
   * not hold them. Nobody writes to such blocks, so that it may be called while a step runs.
   */
  read(key: PrefixKey, start: number, stop: number): Uint8Array | undefined;
  /**
   * Puts groups into the index behind the key's first `start` tokens, as long as those before them
   * are there and blocks are free or reclaimable; returns the tokens that it then knows of these.
   */
  write(key: PrefixKey, start: number, bytes: Uint8Array): number;
  hasCompressed(key: PrefixKey, planFingerprint: string): boolean;
  /**
   * Undefined where the index does not hold exactly this prompt under this plan; also without a free
   * sequence slot, which it takes for a moment.
   */
  readCompressed(key: PrefixKey, planFingerprint: string): Uint8Array | undefined;
  /**
   * False without a free slot, or without blocks. Throws `invalid-file` for bytes that are damaged or
   * of another layout.
   */
  writeCompressed(key: PrefixKey, planFingerprint: string, bytes: Uint8Array): boolean;
}

/**
 * Prefixes of earlier prompts. An uncompressed prefix is a hash chain of block groups (all rows of
 * `blockSize` tokens); a compressed one is a single entry keyed by the whole prompt and the plan.
 */
export interface PrefixIndex {
  /** Tokens (whole blocks, ≤ limit) of the longest uncompressed prefix; no side effect. */
  lookup(key: PrefixKey, limit: number): number;
  /** Fills an empty sequence with shared blocks of that prefix and returns its tokens. */
  adopt(sequence: SequenceSlot, key: PrefixKey, limit: number): number;
  /** Publishes the whole blocks of the sequence's first `tokens` tokens; it must be uncompressed. */
  publish(sequence: SequenceSlot, key: PrefixKey, tokens: number, pin?: PrefixPin): void;
  /** Publishes a compressed sequence as one entry. */
  publishCompressed(
    sequence: SequenceSlot,
    key: PrefixKey,
    planFingerprint: string,
    pin?: PrefixPin,
  ): void;
  /** Fills an empty sequence from the compressed entry of exactly this prompt and plan. */
  adoptCompressed(sequence: SequenceSlot, key: PrefixKey, planFingerprint: string): boolean;
  /** Forgets everything (or a namespace) and gives its blocks back. */
  clear(namespace?: string): void;
  /** Undefined where contents do not live on the host. */
  readonly exchange?: PrefixExchange | undefined;
}

/** Hears what becomes of an arena's blocks, for measurements; called synchronously. */
export interface BlockWatcher {
  /** A sequence took the block from the free ones. */
  taken(block: number): void;
  /** Its last sequence left it to the prefix index. */
  rested(block: number): void;
  /** A sequence holds it again, after only the prefix index did. */
  reused(block: number): void;
  /** It is free again. */
  freed(block: number): void;
}

/** Who holds a block: nobody, one sequence, several holders, or only the prefix index. */
export const blockUse = Object.freeze({ free: 0, own: 1, shared: 2, prefix: 3 });

/** Bytes of a sequence that lost its blocks for a while. */
export interface SwappedBytes {
  read(): Uint8Array;
  /** Idempotent. */
  release(): void;
}

/** Where preempted sequences wait whose tokens, fed again, would give another cache. */
export interface SwapSpace {
  readonly bytes: number;
  readonly maxBytes: number;
  /** Keeps the bytes; undefined without room for them. */
  store(content: Uint8Array): SwappedBytes | undefined;
}

/** What a cache is made from. */
export interface CacheOptions {
  readonly layout: CacheLayout;
  /** Sequences that may be open at once; 8 when absent. */
  readonly maxSequences?: number;
  /** Longest sequence, in tokens of one row. */
  readonly maxTokensPerSequence: number;
  /** Bytes of keys and values over all arenas, so that every arena holds as many tokens. */
  readonly memoryBytes?: number;
  /** Blocks of each arena, in place of `memoryBytes`. */
  readonly numBlocks?: number | readonly number[];
  /** Last queries kept per layer for scoring; 0 (none) when absent. */
  readonly windowSize?: number;
  /** Most bytes that the prefix index may hold; the size of all blocks when absent. */
  readonly prefixBytes?: number;
  /** Most bytes of it that pins may hold; half of it when absent. */
  readonly pinnedBytes?: number;
  readonly watchPrefixes?: PrefixWatcher;
  /** One watcher for the blocks of each arena. */
  readonly watchBlocks?: (arena: number) => BlockWatcher;
}

/**
 * Owns blocks, tables, lengths and positions of all sequences. `@kvcache/paged` implements it over
 * host memory; a device backend brings its own. One writer at a time: no call while a step runs.
 */
export interface CacheManager {
  readonly layout: CacheLayout;
  readonly maxSequences: number;
  /** Queries kept per layer for scoring. */
  readonly windowSize: number;
  /** The memory itself, where it lives on the host. */
  readonly host: HostCache | undefined;
  /**
   * The cache as host memory that has the contents of these sequences: `host` itself, or a copy to
   * look at, until the next change of the cache.
   */
  snapshot(sequences: readonly SequenceSlot[]): Promise<HostCache>;

  /** Opens an empty sequence. Throws `out-of-blocks` when all slots are taken. */
  open(): SequenceSlot;
  /** Frees everything the sequence holds. */
  close(sequence: SequenceSlot): void;
  /** A second sequence with the same contents; blocks are shared and copied on first write. */
  fork(sequence: SequenceSlot): SequenceSlot;

  /**
   * Upper bound of blocks, over all rows and per arena, that appending `tokens` tokens takes, at
   * most `chunk` at a time; see `reserve`.
   */
  blocksToAppend(sequence: SequenceSlot, tokens: number, chunk?: number): readonly number[];
  /** Whether blocks (per arena) are free or reclaimable beyond what is reserved. */
  canTake(blocks: readonly number[]): boolean;
  /**
   * Promises room for `tokens` more tokens, in place of an earlier promise (0 takes it back);
   * `append` draws on it. Throws `out-of-blocks`, and so does any later call on the sequence that
   * would make the promise impossible to keep (a fork, say, after which tails must be copied).
   * Who appends at most `chunk` tokens at a time, with `releaseOutOfWindow` after each time, is
   * promised no more of sliding-window layers than that takes.
   */
  reserve(sequence: SequenceSlot, tokens: number, chunk?: number): void;
  /**
   * Makes room for `tokens` tokens at the end of every row and gives them the positions
   * nextPosition …; the forward pass writes their keys and values. Throws `out-of-blocks` and
   * changes nothing when the pool is too small.
   */
  append(sequence: SequenceSlot, tokens: number): void;
  /**
   * Removes every entry with a position ≥ `position` and continues there. Of the window queries it
   * takes those away that the removed tokens overwrote; `windowLength` stays valid instead, where
   * the caller knows that they wrote none.
   */
  truncate(sequence: SequenceSlot, position: number, windowLength?: number): void;
  /** Gives the next token another position: a transform has moved the kept entries to new ones. */
  renumber(sequence: SequenceSlot, nextPosition: number): void;
  /** Gives back whole blocks of sliding-window layers that no later query can see. */
  releaseOutOfWindow(sequence: SequenceSlot): void;
  /**
   * Copies every block that others hold too, so that a forward pass may add to the attention sums
   * of the sequence's slots. Throws `out-of-blocks` and changes nothing when the pool is too small.
   */
  unshare(sequence: SequenceSlot): void;
  /**
   * Entries of the window-query ring that are valid: min(windowSize, tokens since the sequence
   * began or was restored), less what `truncate` took back.
   */
  windowLength(sequence: SequenceSlot): number;
  /** The sequences' rows as scorers, budgets and selectors see them; valid until the next change. */
  batch(sequences: readonly SequenceSlot[], options: BatchOptions): KvBatch;
  /**
   * Keeps `keep` of the batch's rows, moves survivors together, gives freed blocks back. Shared
   * blocks are rewritten out of place: throws `out-of-blocks`, changing nothing, without room for
   * that. Call it after the encoder that made `keep` was submitted.
   */
  compact(encoder: Encoder, batch: KvBatch, keep: KeepSet, options?: CompactOptions): Promise<void>;

  /**
   * Everything the sequence holds (entries, positions, sums, window queries) as one versioned,
   * checksummed buffer: the payload of swap-out and of snapshot files. A promise where it must be
   * read back from a device: nothing may change the sequence before that.
   */
  exportSequence(sequence: SequenceSlot): Uint8Array | Promise<Uint8Array>;
  /** Opens a sequence from such a buffer. Throws `invalid-file` when it was made for another layout. */
  importSequence(bytes: Uint8Array): SequenceSlot;

  readonly prefixes: PrefixIndex;
  sequenceStats(sequence: SequenceSlot): SequenceStats;
  stats(): CacheStats;
  /** For each block of an arena a value of `blockUse`, for people to look at. */
  blockUses?(arena: number): Uint8Array;
  dispose(): void;
}
