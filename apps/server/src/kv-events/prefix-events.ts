import { createHash } from "node:crypto";
import type { PrefixGroup, PrefixWatcher } from "@kvcache/core";

/** An event as it is sent: its name, then its fields in the order that vLLM gave them. */
export type KvEvent = readonly [name: string, ...fields: unknown[]];

/** Name of the tier that a block is in; routers weigh it against tiers that must be loaded first. */
const MEDIUM = "GPU";

export interface PrefixEvents extends PrefixWatcher {
  /** Hands over what has not been yet. */
  flush(): void;
}

/**
 * Turns the comings and goings of the prefix index into the events that routers of vLLM know. Only
 * what any request can begin with is announced: uncompressed prefixes. Changes of one tick are one
 * batch, and a chain of blocks in it is one event.
 */
export function createPrefixEvents(
  blockSize: number,
  publish: (events: readonly KvEvent[]) => void,
): PrefixEvents {
  /** Names of the blocks that are announced. Others hash tokens themselves: these mean nothing more. */
  const hashes = new Map<PrefixGroup, bigint>();
  let chain: PrefixGroup[] = [];
  let removed: bigint[] = [];
  let batch: KvEvent[] = [];
  let scheduled = false;

  function hashOf({ namespace, tokenIds, parent }: PrefixGroup): bigint {
    const before = parent && hashes.get(parent);
    const digest = createHash("sha256")
      .update(before === undefined ? namespace : before.toString(16))
      .update(new Uint8Array(tokenIds.buffer, tokenIds.byteOffset, tokenIds.byteLength))
      .digest();
    return digest.readBigUInt64BE();
  }

  function endChain(): void {
    const [first] = chain;
    if (!first) return;
    const { parent, salt } = first;
    const extraKeys = !parent && salt ? chain.map((_, i) => (i === 0 ? [salt] : null)) : undefined;
    batch.push([
      "BlockStored",
      chain.map((group) => hashes.get(group)!),
      (parent && hashes.get(parent)) ?? null,
      chain.flatMap(({ tokenIds }) => Array.from(tokenIds)),
      blockSize,
      null,
      MEDIUM,
      null,
      ...(extraKeys ? [extraKeys] : []),
    ]);
    chain = [];
  }

  function endRemoved(): void {
    if (removed.length > 0) batch.push(["BlockRemoved", removed, MEDIUM]);
    removed = [];
  }

  function flush(): void {
    scheduled = false;
    endChain();
    endRemoved();
    if (batch.length > 0) publish(batch);
    batch = [];
  }

  function schedule(): void {
    if (!scheduled) setImmediate(flush);
    scheduled = true;
  }

  return {
    stored(group) {
      endRemoved();
      if (chain.length > 0 && group.parent !== chain.at(-1)) endChain();
      hashes.set(group, hashOf(group));
      chain.push(group);
      schedule();
    },
    removed(group) {
      endChain();
      const hash = hashes.get(group);
      if (hash === undefined) return;
      hashes.delete(group);
      removed.push(hash);
      schedule();
    },
    flush,
  };
}
