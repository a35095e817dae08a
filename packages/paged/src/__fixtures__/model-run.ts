import { type KeepSet, KvCacheError, type KvBatch } from "@kvcache/core";
import { createPagedCache, type PagedCache } from "../paged-cache.ts";
import { neededBlocks, promisedBlocks, usersOf } from "./model-accounting.ts";
import { checkSequence, placeOf, writeForward } from "./model-contents.ts";
import {
  arenaOf,
  blockSize,
  type CompressedPrompt,
  copyOf,
  emptySequence,
  extend,
  fail,
  keyOf,
  layout,
  numRows,
  ownedRows,
  type Sequence,
  slidingWindow,
  windowSize,
} from "./model-sequence.ts";
import { hostEncoder, keepSet } from "./small-cache.ts";

export class ModelRun {
  readonly cache: PagedCache;
  readonly counts = new Map<string, number>();
  readonly #open: Sequence[] = [];
  #compressed: CompressedPrompt[] = [];
  #seed: number;
  #fingerprints = 0;

  constructor(seed: number) {
    this.#seed = seed;
    this.cache = createPagedCache({
      layout,
      maxSequences: 9,
      maxTokensPerSequence: 48,
      numBlocks: [96, 40],
      windowSize,
      prefixBytes: 40 * 4 * 96,
    });
  }

  #below(n: number): number {
    this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) | 0;
    return ((this.#seed >>> 8) * n) >>> 24;
  }

  #pick(): Sequence | undefined {
    return this.#open[this.#below(this.#open.length)];
  }

  /** Runs one random operation and checks the sequences that it touched. */
  async step(): Promise<void> {
    const operations: readonly (readonly [number, string, () => void | Promise<void>])[] = [
      [12, "open", () => this.#begin()],
      [30, "append", () => this.#append()],
      [5, "fork", () => this.#fork()],
      [12, "close", () => this.#close()],
      [7, "compact", () => this.#compact()],
      [5, "truncate", () => this.#truncate()],
      [6, "release", () => this.#release()],
      [4, "export", () => this.#exportImport()],
      [12, "publish", () => this.#publish()],
      [3, "publishCompressed", () => this.#publishCompressed()],
      [4, "adoptCompressed", () => this.#adoptCompressed()],
      [5, "reserve", () => this.#reserve()],
      [2, "unshare", () => this.#unshare()],
    ];
    let at = this.#below(operations.reduce((sum, [weight]) => sum + weight, 0));
    const [, name, run] = operations.find(([weight]) => {
      at -= weight;
      return at < 0;
    })!;
    try {
      await run();
      this.#count(name);
    } catch (error) {
      if (!(error instanceof KvCacheError) || error.code !== "out-of-blocks") throw error;
      this.#count(`${name} out of blocks`);
    }
    const some = this.#pick();
    if (some && this.#below(2) === 0) checkSequence(this.cache, some);
  }

  #count(name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }

  #add(sequence: Sequence): Sequence {
    this.#open.push(sequence);
    return sequence;
  }

  /** Opens a sequence; half of the time it adopts the prefix of a random prompt. */
  #begin(): void {
    const namespace = this.#below(4) === 0 ? "b" : "a";
    const sequence = this.#add(emptySequence(this.cache.open(), namespace));
    if (this.#below(2) === 0) return;
    if (this.#below(3) === 0) this.#reserveFor(sequence, this.#below(24));
    const other = this.#pick()!;
    const prompt =
      this.#below(2) === 0
        ? other.tokens
        : Array.from({ length: this.#below(24) }, () => +(this.#below(8) === 0));
    const limit = this.#below(28);
    const key = keyOf(sequence, prompt);
    const known = this.cache.prefixes.lookup(key, limit);
    const tokens = this.cache.prefixes.adopt(sequence.slot, key, limit);
    if (tokens % blockSize !== 0 || tokens > known || tokens > limit) fail("adopted too much");
    if (tokens > 0) this.#count("adopted");
    extend(sequence, prompt.slice(0, tokens));
    for (const set of sequence.rows.values()) for (let p = 0; p < tokens; p++) set.add(p);
    sequence.promised = Math.max(0, sequence.promised - tokens);
  }

  #append(): void {
    const sequence = this.#pick();
    if (!sequence) return;
    const count = 1 + this.#below(9);
    const position = sequence.tokens.length;
    if (Math.max(...this.#lengths(sequence)) + count > 48) return;
    const others = promisedBlocks(this.cache.host, this.#open, sequence);
    const { arenas } = this.cache.stats();
    const fits = neededBlocks(this.cache.host, this.#open, sequence, count).every(
      (need, i) => need <= arenas[i]!.freeBlocks + arenas[i]!.reclaimableBlocks - others[i]!,
    );
    const promised = count <= sequence.promised;
    let done = false;
    try {
      this.cache.append(sequence.slot, count);
      done = true;
    } finally {
      // Promises to others may be counted with copies that are no longer needed, hence one-sided.
      if (done && !fits) fail("append took blocks that others were promised");
      if (!done && promised) fail("a promise was broken");
    }
    const ids = Array.from({ length: count }, () => +(this.#below(8) === 0));
    extend(sequence, ids);
    for (const set of sequence.rows.values())
      for (let p = position; p < position + count; p++) set.add(p);
    writeForward(this.cache.host, sequence, position);
    sequence.promised = Math.max(0, sequence.promised - count);
  }

  #lengths(sequence: Sequence): number[] {
    return [...sequence.rows.values()].map((set) => set.size);
  }

  #copy = (sequence: Sequence, slot: number): Sequence => ({
    ...sequence,
    ...copyOf(sequence),
    slot,
    tokens: [...sequence.tokens],
    hashes: [...sequence.hashes],
    promised: 0,
  });

  #fork(): void {
    const sequence = this.#pick();
    if (sequence) this.#add(this.#copy(sequence, this.cache.fork(sequence.slot)));
  }

  #close(): void {
    const sequence = this.#pick();
    if (!sequence) return;
    this.cache.close(sequence.slot);
    this.#open.splice(this.#open.indexOf(sequence), 1);
  }

  async #compact(): Promise<void> {
    const chosen = this.#open.filter(() => this.#below(4) === 0);
    const protect = { sinks: 0, recent: 0 };
    const layers = this.#below(3) === 0 ? [2, 3] : undefined;
    const batch: KvBatch = this.cache.batch(
      chosen.map(({ slot }) => slot),
      { protect, phase: "pressure", ...(layers && { layers }) },
    );
    const rows = chosen.flatMap((s) =>
      ownedRows.filter((row) => !layers || row >= 4).map((row) => ({ s, row })),
    );
    const share = this.#below(5);
    const kept = rows.map(({ s, row }) =>
      [...Array(s.rows.get(row)!.size).keys()].filter(() => this.#below(4) < share),
    );
    const positions = rows.map(({ s, row }, i) =>
      kept[i]!.map((j) => {
        const { arena, slot } = placeOf(this.cache.host, s, row, j);
        return arena.positions[slot]!;
      }),
    );
    const keep: KeepSet = keepSet(kept);
    await this.cache.compact(hostEncoder, batch, keep);
    rows.forEach(({ s, row }, i) => {
      if (positions[i]!.length < s.rows.get(row)!.size) s.compressed = true;
      s.rows.set(row, new Set(positions[i]));
    });
    for (const sequence of chosen) checkSequence(this.cache, sequence);
  }

  #truncate(): void {
    const sequence = this.#pick();
    if (!sequence) return;
    const length = sequence.tokens.length;
    const position = Math.max(0, length - this.#below(this.#below(3) === 0 ? 40 : 6));
    this.cache.truncate(sequence.slot, position);
    sequence.tokens.length = position;
    sequence.hashes.length = position;
    for (const set of sequence.rows.values()) for (const p of set) if (p >= position) set.delete(p);
    for (const p of sequence.queries) if (p >= position) sequence.queries.delete(p);
    if (position === 0) sequence.compressed = false;
    checkSequence(this.cache, sequence);
  }

  #release(): void {
    const sequence = this.#pick();
    if (!sequence) return;
    const oldest = sequence.tokens.length - slidingWindow + 1;
    for (const row of [4, 5]) {
      const set = sequence.rows.get(row)!;
      const order = [...Array(set.size).keys()].map((j) => {
        const { arena, slot } = placeOf(this.cache.host, sequence, row, j);
        return arena.positions[slot]!;
      });
      for (let start = 0; start + blockSize <= order.length; start += blockSize) {
        const block = order.slice(start, start + blockSize);
        if (block.every((p) => p < oldest)) for (const p of block) set.delete(p);
      }
    }
    this.cache.releaseOutOfWindow(sequence.slot);
    checkSequence(this.cache, sequence);
  }

  #exportImport(): void {
    const sequence = this.#pick();
    if (!sequence) return;
    const bytes = this.cache.exportSequence(sequence.slot);
    const swap = this.#below(2) === 0;
    if (swap) {
      this.cache.close(sequence.slot);
      this.#open.splice(this.#open.indexOf(sequence), 1);
    }
    const slot = this.cache.importSequence(bytes);
    checkSequence(this.cache, this.#add(this.#copy(sequence, slot)));
  }

  #publish(): void {
    const sequence = this.#pick();
    if (!sequence) return;
    const length = sequence.tokens.length;
    const tokens = this.#below(2) === 0 ? length : this.#below(length);
    const whole = Math.floor(tokens / blockSize) * blockSize;
    const holds = [...sequence.rows.values()].every((set) => {
      for (let p = 0; p < whole; p++) if (!set.has(p)) return false;
      return true;
    });
    let refused = false;
    try {
      this.cache.prefixes.publish(sequence.slot, keyOf(sequence, sequence.tokens), tokens);
    } catch (error) {
      if (!(error instanceof KvCacheError) || error.code !== "invalid-argument") throw error;
      refused = true;
    }
    if (refused !== (sequence.compressed || !holds)) fail(`publish refused: ${refused}`);
    if (this.#below(60) === 0) this.cache.prefixes.clear(this.#below(2) ? undefined : "a");
  }

  #publishCompressed(): void {
    const sequence = this.#pick();
    if (!sequence) return;
    const fingerprint = `plan ${this.#fingerprints++}`;
    const key = keyOf(sequence, sequence.tokens);
    this.cache.prefixes.publishCompressed(sequence.slot, key, fingerprint);
    const { rows, queries } = copyOf(sequence);
    this.#compressed.push({ key, fingerprint, rows, queries });
    if (this.#compressed.length > 12) this.#compressed.shift();
  }

  #adoptCompressed(): void {
    const entry = this.#compressed[this.#below(this.#compressed.length)];
    if (!entry) return;
    const { key, fingerprint } = entry;
    const slot = this.cache.open();
    const sequence = this.#add(emptySequence(slot, key.namespace));
    if (this.#below(3) === 0) this.#reserveFor(sequence, this.#below(24));
    if (this.cache.prefixes.adoptCompressed(slot, key, `${fingerprint} `)) fail("wrong plan");
    if (!this.cache.prefixes.adoptCompressed(slot, key, fingerprint)) return;
    this.#count("adopted compressed");
    extend(sequence, [...key.tokenIds]);
    Object.assign(sequence, copyOf(entry));
    sequence.compressed = true;
    sequence.promised = Math.max(0, sequence.promised - key.tokenIds.length);
    checkSequence(this.cache, sequence);
  }

  #reserve(): void {
    const sequence = this.#pick();
    if (sequence) this.#reserveFor(sequence, this.#below(3) === 0 ? 0 : this.#below(24));
  }

  #reserveFor(sequence: Sequence, tokens: number): void {
    if (Math.max(...this.#lengths(sequence)) + tokens > 48) return;
    this.cache.reserve(sequence.slot, tokens);
    sequence.promised = tokens;
  }

  #unshare(): void {
    const sequence = this.#pick();
    if (!sequence) return;
    this.cache.unshare(sequence.slot);
    const users = usersOf(this.cache.host, this.#open);
    const { host } = this.cache;
    for (const row of ownedRows)
      for (let j = 0; j < sequence.rows.get(row)!.size; j += blockSize) {
        const at = (sequence.slot * numRows + row) * host.maxBlocksPerRow + j / blockSize;
        if (users[arenaOf(row)]!.get(host.blockTables[at]!) !== 1) fail("a block is still shared");
      }
  }

  /** Recounts blocks and promises, and checks every sequence. */
  checkAll(): void {
    for (const sequence of this.#open) checkSequence(this.cache, sequence);
    const users = usersOf(this.cache.host, this.#open);
    const promises = promisedBlocks(this.cache.host, this.#open);
    const stats = this.cache.stats();
    let resident = 0;
    stats.arenas.forEach((arena, i) => {
      const held = users[i]!.size + arena.reclaimableBlocks;
      if (arena.freeBlocks + held !== arena.totalBlocks)
        fail(`arena ${i} lost count of its blocks`);
      if (arena.reservedBlocks < promises[i]!) fail("less is reserved than was promised");
      if (arena.freeBlocks + arena.reclaimableBlocks < arena.reservedBlocks)
        fail("promises are void");
      resident += held * (i === 0 ? 64 : 32);
    });
    if (stats.residentBytes !== resident) fail("resident bytes are wrong");
    if (stats.sequences !== this.#open.length) fail("sequences are wrong");
  }

  /** Ends everything: all blocks must be free. */
  finish(): void {
    for (const sequence of this.#open.splice(0)) this.cache.close(sequence.slot);
    this.cache.prefixes.clear();
    for (const arena of this.cache.stats().arenas) {
      if (arena.freeBlocks !== arena.totalBlocks) fail("blocks leaked");
      if (arena.reservedBlocks !== 0 || arena.reclaimableBlocks !== 0) fail("counts leaked");
    }
    if (this.cache.host.blockTables.some((block) => block !== -1))
      fail("a block table is not clean");
  }
}
