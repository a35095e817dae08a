import {
  type Backend,
  type BackendSession,
  type CacheManager,
  type KvBatch,
  numRows,
  type SequenceSlot,
} from "@kvcache/core";
import type { PagedCache } from "@kvcache/paged";

export interface SessionOver {
  readonly session: BackendSession;
  /** The rows of a batch of the filled cache, where the session has them. */
  on(batch: KvBatch): KvBatch;
  dispose(): Promise<void>;
}

/** A backend's session over a filled cache of one sequence, or over a copy on the backend's device. */
export async function sessionOver(
  backend: Backend,
  cache: PagedCache,
  sequence: SequenceSlot,
): Promise<SessionOver> {
  const own = await deviceCache(backend, cache);
  const session = backend.attach(own ?? cache);
  const slot = own?.importSequence(cache.exportSequence(sequence));
  return {
    session,
    on(batch) {
      if (!own) return batch;
      const { protect, phase, layers, observers, model, windowLengths } = batch;
      const options = { protect, phase, layers, model, ...(observers && { observers }) };
      return { ...own.batch([slot!], options), windowLengths };
    },
    async dispose() {
      await session.dispose();
      own?.dispose();
    },
  };
}

async function deviceCache(
  backend: Backend,
  { host, layout }: PagedCache,
): Promise<CacheManager | undefined> {
  const { blockSize } = layout.arenas[0]!;
  return backend.createCache?.({
    layout,
    maxSequences: 1,
    maxTokensPerSequence: host.maxBlocksPerRow * blockSize,
    numBlocks: numRows(layout.shape) * host.maxBlocksPerRow,
    windowSize: host.windowSize,
  });
}
