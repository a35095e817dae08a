import { createOrtBackend } from "@kvcache/backend-ort";
import { createReferenceBackend } from "@kvcache/backend-reference";
import { createWebGpuBackend } from "@kvcache/backend-webgpu";
import {
  type Backend,
  cacheLayout,
  KvCacheError,
  type Signal,
  sequenceTokenBytes,
} from "@kvcache/core";
import { type DecoderModel, loadModel } from "@kvcache/decoder";
import { createRunner, type Runner } from "@kvcache/engine";
import { compact } from "@kvcache/kernels";
import { createPagedCache } from "@kvcache/paged";

export const backendNames = ["reference", "ort-native", "ort-segmented", "ort", "webgpu"] as const;

/** A backend by the name that `--backend` takes; "ort" is native where the library was built. */
export async function openBackend(name: string): Promise<Backend> {
  switch (name) {
    case "reference":
      return createReferenceBackend();
    case "ort":
      return createOrtBackend({ mode: "auto" });
    case "ort-native":
      return createOrtBackend({ mode: "native" });
    case "ort-segmented":
      return createOrtBackend({ mode: "segmented" });
    case "webgpu":
      return createWebGpuBackend();
    default:
      throw new KvCacheError("not-found", `There is no backend named "${name}".`, {
        value: name,
        remedy: `Use one of ${backendNames.join(", ")}.`,
      });
  }
}

export interface OpenModel {
  readonly model: DecoderModel;
  readonly runner: Runner;
  close(): Promise<void>;
}

/**
 * A model folder on a backend, with room for `tokens` tokens in each of two sequences and what a
 * policy's signals take beside them.
 */
export async function openModel(
  folder: string,
  backend: Backend,
  tokens: number,
  signals: readonly Signal[] = [],
): Promise<OpenModel> {
  const model = await loadModel(folder);
  const { graph } = model;
  const layout = cacheLayout(graph.shape, { slidingWindow: graph.slidingWindow });
  const kinds = [...new Set(signals.map(({ kind }) => kind))];
  // A replay feeds up to the whole prompt again, behind it.
  const room = (kinds.includes("replay") ? 2 : 1) * tokens + layout.arenas[0]!.blockSize;
  const options = {
    layout,
    maxSequences: 4,
    maxTokensPerSequence: room,
    memoryBytes: 3 * room * sequenceTokenBytes(layout),
    windowSize: 128,
  };
  const cache =
    (await backend.createCache?.(options)) ?? createPagedCache({ ...options, compaction: compact });
  // Decoder cases are goldens of a prompt fed in one call.
  const runner = await createRunner({
    model,
    backend,
    cache,
    maxBatchTokens: 4096,
    signals: kinds,
  });
  return {
    model,
    runner,
    async close() {
      await runner.dispose();
      cache.dispose();
    },
  };
}
