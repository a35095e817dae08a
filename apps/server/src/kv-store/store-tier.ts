import type { CacheManager, PrefixKey } from "@kvcache/core";
import type { PrefixTier } from "@kvcache/engine";
import { chunkFormat, openChunk, sealChunk } from "./chunk.ts";
import type { GuardedStore } from "./guarded-store.ts";
import { createWriteBehind, type Dropped } from "./write-behind.ts";

/** Hears what goes to the store and comes from it. */
export interface StoreWatcher {
  /** Prompt tokens that a request asked the store for, and how many it got. */
  looked(tokens: number, found: number): void;
  moved(direction: "read" | "written", bytes: number): void;
  dropped(reason: Dropped): void;
  /** A call was answered with an error, too late or not at all. */
  failed(): void;
  took(operation: "look" | "read" | "write", seconds: number): void;
  queued(bytes: number): void;
}

export interface StoreTierOptions {
  readonly store: GuardedStore;
  readonly cache: CacheManager;
  /** Most bytes that wait to be written; what comes then is not written. */
  readonly maxQueueBytes: number;
  /** Longest that a request waits for the store in all. Default 5 seconds. */
  readonly maxWaitMs?: number;
  readonly watcher: StoreWatcher;
}

export interface StoreTier extends PrefixTier {
  /** Resolves when nothing waits to be written any more. */
  flush(): Promise<void>;
}

/** Values that are asked for at once. */
const BATCH = 4;

/**
 * Prefixes in a store that replicas share. Requests wait for what they can start from; what they
 * computed is written later, and read from the cache only then, so that the queue holds no copies.
 * Uncompressed prefixes are cut into values of whole blocks, each of use with those before it; a
 * compressed prompt is of use as a whole.
 */
export function createStoreTier(options: StoreTierOptions): StoreTier {
  const { store, cache, maxQueueBytes, maxWaitMs = 5_000, watcher } = options;
  const { dropped, failed, queued } = watcher;
  const format = chunkFormat(cache, cache.prefixes.exchange?.groupBytes ?? 1);
  const later = createWriteBehind({ store, maxBytes: maxQueueBytes, dropped, failed, queued });

  const timed = async <T>(
    operation: Parameters<StoreWatcher["took"]>[0],
    work: Promise<T>,
  ): Promise<T> => {
    const began = performance.now();
    const result = await work;
    watcher.took(operation, (performance.now() - began) / 1000);
    return result;
  };

  /** Contents of these names, as far as they are there and sound. */
  async function load(names: readonly string[], bytes?: number): Promise<Uint8Array[]> {
    const contents: Uint8Array[] = [];
    for (const [i, value] of (await timed("read", store.get(names))).entries()) {
      const name = names[i]!;
      if (value === undefined) {
        later.doubt(name);
        break;
      }
      watcher.moved("read", value.length);
      const content = openChunk(name, value, bytes);
      if (content === undefined) {
        later.doubt(name, true);
        dropped("damaged");
        break;
      }
      later.believe(name);
      contents.push(content);
    }
    return contents;
  }

  async function save(name: string, content: Uint8Array): Promise<void> {
    const value = sealChunk(name, content);
    await timed("write", store.set(name, value));
    watcher.moved("written", value.length);
    later.believe(name);
  }

  const fetch: PrefixTier["fetch"] = (key, held, limit, write) => {
    const begin = Math.floor(held / format.tokens);
    const wanted = Math.floor(limit / format.tokens);
    if (!store.up || wanted <= begin) return undefined;
    const names = format.names(key, limit).slice(begin);
    const next = (from: number, stop: number) =>
      load(names.slice(from, Math.min(from + BATCH, stop)), format.bytes);

    async function run(): Promise<number> {
      const until = performance.now() + maxWaitMs;
      const missing = (await timed("look", store.has(names))).indexOf(false);
      const stop = missing < 0 ? names.length : missing;
      for (const name of names.slice(stop)) later.doubt(name);
      let tokens = held;
      let loading = stop > 0 ? next(0, stop) : undefined;
      for (let at = 0; loading; ) {
        const chunks = await loading;
        const first = at;
        at += chunks.length;
        // The next ones are on their way while these are taken in.
        const more = chunks.length === BATCH && at < stop && performance.now() < until;
        loading = more ? next(at, stop) : undefined;
        loading?.catch(() => {});
        for (const [i, chunk] of chunks.entries()) {
          const start = (begin + first + i) * format.tokens;
          tokens = await write(start, chunk);
          if (tokens < start + format.tokens) return tokens;
        }
      }
      return tokens;
    }

    const asked = wanted * format.tokens - held;
    return run().then(
      (tokens) => watcher.looked(asked, Math.max(0, tokens - held)),
      () => {
        failed();
        watcher.looked(asked, 0);
      },
    );
  };

  const partsOf = (name: string, count: number) =>
    Array.from({ length: count }, (_, i) => `${name}:${i}`);

  /** A compressed prompt's parts put together; the first says how many there are. */
  async function loadWhole(name: string): Promise<Uint8Array | undefined> {
    const until = performance.now() + maxWaitMs;
    const [first] = await load(partsOf(name, 1));
    if (first === undefined || first.length < 4) return undefined;
    const count = new DataView(first.buffer, first.byteOffset).getUint32(0, true);
    const parts = [first.subarray(4)];
    const names = partsOf(name, Math.min(count, 2 ** 16)).slice(1);
    for (let i = 0; i < names.length; i += BATCH) {
      if (performance.now() > until) return undefined;
      const some = names.slice(i, i + BATCH);
      const loaded = await load(some);
      if (loaded.length < some.length) {
        // The rest was forgotten: the first part promises what is not there.
        later.doubt(partsOf(name, 1)[0]!, true);
        return undefined;
      }
      parts.push(...loaded);
    }
    return Buffer.concat(parts);
  }

  async function saveWhole(name: string, bytes: Uint8Array): Promise<void> {
    const size = format.partBytes;
    const count = Math.ceil((bytes.length + 4) / size);
    const first = Buffer.alloc(Math.min(size, bytes.length + 4));
    first.writeUInt32LE(count);
    first.set(bytes.subarray(0, size - 4), 4);
    const names = partsOf(name, count);
    for (let i = 1; i < count; i++)
      await save(names[i]!, bytes.subarray(i * size - 4, (i + 1) * size - 4));
    // Last, so that whoever finds it finds the others.
    await save(names[0]!, first);
  }

  async function fetchWhole(
    key: PrefixKey,
    plan: string,
    write: (bytes: Uint8Array) => Promise<boolean>,
  ): Promise<boolean> {
    try {
      const bytes = await loadWhole(format.compressedName(key, plan));
      if (bytes === undefined || !(await write(bytes))) return false;
      watcher.looked(key.tokenIds.length, key.tokenIds.length);
      return true;
    } catch {
      failed();
      return false;
    }
  }

  return {
    fetch,
    offer(key, read) {
      for (const [chunk, name] of format.names(key, key.tokenIds.length).entries())
        later.add(name, format.bytes, async () => {
          const content = read(chunk * format.tokens, (chunk + 1) * format.tokens);
          if (content === undefined) dropped("evicted");
          else await save(name, content);
        });
    },
    fetchCompressed: (key, plan, write) => (store.up ? fetchWhole(key, plan, write) : undefined),
    offerCompressed(key, plan, bytes, read) {
      const name = format.compressedName(key, plan);
      later.add(partsOf(name, 1)[0]!, bytes, async () => {
        const content = await read();
        if (content === undefined) dropped("evicted");
        else await saveWhole(name, content);
      });
    },
    flush: later.flush,
  };
}
