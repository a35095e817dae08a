import { type BlockWatcher, KvCacheError } from "@kvcache/core";

/** The blocks of one arena: who holds each, and which are free. Every method is O(1). */
export interface BlockPool {
  readonly numBlocks: number;
  readonly numFree: number;
  /** Blocks that only the prefix index holds. */
  readonly numReclaimable: number;
  /** Takes a free block for one sequence; −1 when there is none. */
  allocate(): number;
  /** One more sequence holds the block. */
  retain(block: number): void;
  /** One sequence fewer holds the block; it is free once nobody does. */
  release(block: number): void;
  /** The prefix index holds the block, once per entry that names it. */
  cache(block: number): void;
  uncache(block: number): void;
  /** Sequences that hold the block. */
  users(block: number): number;
  /** Whether exactly one holder exists, a sequence: only then may the block be written. */
  isExclusive(block: number): boolean;
  isFree(block: number): boolean;
}

// What a block is takes two bits, so that taking and giving back blocks that nobody shares stays in
// the processor's cache however large the pool is; counts are read for shared blocks only.
const FREE = 0;
const EXCLUSIVE = 1;
const SHARED = 2;
const STATE = 3;

// Counts of a shared block: bits 0 … 15 sequences, bits 16 … 31 entries of the prefix index.
const USER = 1;
const ENTRY = 1 << 16;
const USERS = ENTRY - 1;

/** Largest number of sequences, and of prefix entries, that may hold one block. */
export const maxHolders = USERS;

const broken = (block: number, what: string) =>
  new KvCacheError("internal", `Block ${block} ${what}.`, { value: block });

/**
 * Creates a pool of `numBlocks` free blocks, 0 … numBlocks − 1, handed out lowest first. A watcher
 * hears of every change.
 */
export const createBlockPool = (numBlocks: number, watcher?: BlockWatcher): BlockPool =>
  new FreeStack(numBlocks, watcher);

// A class, because engines reach its fields faster than variables of a closure (bench/allocator).
class FreeStack implements BlockPool {
  readonly numBlocks: number;
  numFree: number;
  numReclaimable = 0;
  readonly #free: Int32Array;
  readonly #states: Int32Array;
  readonly #counts: Uint32Array;
  readonly #watcher: BlockWatcher | undefined;

  constructor(numBlocks: number, watcher: BlockWatcher | undefined) {
    if (!Number.isInteger(numBlocks) || numBlocks < 1 || numBlocks > 2 ** 31 - 1)
      throw new KvCacheError(
        "invalid-argument",
        `A block pool needs between 1 and ${2 ** 31 - 1} blocks, got ${numBlocks}.`,
        { value: numBlocks },
      );
    this.numBlocks = numBlocks;
    this.numFree = numBlocks;
    this.#watcher = watcher;
    this.#free = new Int32Array(numBlocks);
    for (let i = 0; i < numBlocks; i++) this.#free[i] = numBlocks - 1 - i;
    this.#states = new Int32Array(Math.ceil(numBlocks / 16));
    this.#counts = new Uint32Array(numBlocks);
  }

  allocate(): number {
    if (this.numFree === 0) return -1;
    const block = this.#free[--this.numFree]!;
    this.#states[block >>> 4]! |= EXCLUSIVE << ((block & 15) << 1);
    this.#watcher?.taken(block);
    return block;
  }

  release(block: number): void {
    const word = this.#states[block >>> 4]!;
    const shift = (block & 15) << 1;
    if (((word >>> shift) & STATE) === EXCLUSIVE) {
      this.#states[block >>> 4] = word ^ (EXCLUSIVE << shift);
      this.#free[this.numFree++] = block;
      this.#watcher?.freed(block);
      return;
    }
    const count = this.#count(block);
    if ((count & USERS) === 0) throw broken(block, "is given back by nobody who holds it");
    this.#setCount(block, count - USER);
    if ((count & USERS) !== USER) return;
    this.numReclaimable++;
    this.#watcher?.rested(block);
  }

  retain(block: number): void {
    const count = this.#count(block);
    if (count === 0) throw broken(block, "is retained while it is free");
    if ((count & USERS) === maxHolders) throw broken(block, "has too many holders");
    if ((count & USERS) === 0) {
      this.numReclaimable--;
      this.#watcher?.reused(block);
    }
    this.#setCount(block, count + USER);
  }

  cache(block: number): void {
    const count = this.#count(block);
    if ((count & USERS) === 0) throw broken(block, "is cached from no sequence");
    if (count >>> 16 === maxHolders) throw broken(block, "is in too many prefixes");
    this.#setCount(block, count + ENTRY);
  }

  uncache(block: number): void {
    const count = this.#count(block);
    if (count < ENTRY) throw broken(block, "is not in the prefix index");
    if (count === ENTRY) this.numReclaimable--;
    this.#setCount(block, count - ENTRY);
  }

  users(block: number): number {
    return this.#count(block) & USERS;
  }

  isExclusive(block: number): boolean {
    return this.#state(block) === EXCLUSIVE;
  }

  isFree(block: number): boolean {
    return this.#state(block) === FREE;
  }

  #state(block: number): number {
    return (this.#states[block >>> 4]! >>> ((block & 15) << 1)) & STATE;
  }

  #count(block: number): number {
    const state = this.#state(block);
    return state === SHARED ? this.#counts[block]! : state;
  }

  #setCount(block: number, count: number): void {
    const state = count === USER ? EXCLUSIVE : count === 0 ? FREE : SHARED;
    const shift = (block & 15) << 1;
    this.#states[block >>> 4] = (this.#states[block >>> 4]! & ~(STATE << shift)) | (state << shift);
    this.#counts[block] = count;
    if (state !== FREE) return;
    this.#free[this.numFree++] = block;
    this.#watcher?.freed(block);
  }
}
