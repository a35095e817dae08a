import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import {
  type Backend,
  type BackendSession,
  type CacheManager,
  type HostCache,
  KvCacheError,
} from "@kvcache/core";
import { loadNativeAddon } from "./native-addon.ts";
import { createNativeSession } from "./native-session.ts";
import { findOrtLibrary } from "./ort-library.ts";
import { createSegmentRunner } from "./segment-runner.ts";
import { createSegmentedSession } from "./segmented-session.ts";
import { loadStockOrt } from "./stock-ort.ts";
import { createWorkerRunner } from "./worker-runner.ts";

export interface OrtBackendOptions {
  /**
   * "native" runs whole graphs with our own ops and throws `unsupported` without the native
   * library; "segmented" needs only the package onnxruntime-node; "auto" prefers native.
   */
  readonly mode?: "auto" | "native" | "segmented";
  /** Threads of every onnxruntime session; as many as there are cores when absent. */
  readonly threads?: number;
  /** Whether segmented mode works in a worker thread, so that the event loop stays free; true. */
  readonly worker?: boolean;
  /** The onnxruntime library for native mode; KVCACHE_ORT_LIBRARY or onnxruntime-node's if absent. */
  readonly libraryPath?: string;
}

interface Mode {
  readonly description: string;
  attach(host: HostCache): BackendSession;
}

/**
 * A backend on onnxruntime, over caches in host memory. Throws `unsupported` or `not-found` when
 * the mode asked for cannot run here.
 */
export async function createOrtBackend(options: OrtBackendOptions = {}): Promise<Backend> {
  const { mode = "auto", threads = availableParallelism() } = options;
  if (!Number.isInteger(threads) || threads < 1)
    throw new KvCacheError(
      "invalid-argument",
      `threads must be a positive integer, got ${threads}.`,
      {
        value: threads,
      },
    );
  const chosen =
    mode === "segmented"
      ? await segmentedMode(threads, options, "as asked")
      : await nativeMode(threads, options).catch((error: Error) => {
          if (mode === "native")
            throw new KvCacheError("unsupported", `Native mode cannot run: ${error.message}.`, {
              remedy: "Run `pnpm native` to build it, or use mode segmented.",
              cause: error,
            });
          return segmentedMode(threads, options, error.message);
        });

  const sessions = new Set<BackendSession>();
  let disposed = false;
  return Object.freeze<Backend>({
    name: "ort",
    description: chosen.description,
    signals: [
      "windowQueries",
      "attentionSums",
      "chunkQueries",
      "queryStatistics",
      "hidden",
      "headOutputs",
      "replay",
      "blockBounds",
      "outputWeight",
    ],
    attach(cache: CacheManager): BackendSession {
      if (disposed) throw new KvCacheError("disposed", "This backend was disposed.");
      if (!cache.host)
        throw new KvCacheError(
          "unsupported",
          "This backend needs a cache in host memory, this one lives on a device.",
          { remedy: "Attach the cache manager of @kvcache/paged." },
        );
      const session = chosen.attach(cache.host);
      sessions.add(session);
      return session;
    },
    async dispose() {
      disposed = true;
      for (const session of sessions) await session.dispose();
      sessions.clear();
    },
  });
}

const threadsText = (threads: number) => `${threads} thread${threads === 1 ? "" : "s"}`;

async function nativeMode(threads: number, { libraryPath }: OrtBackendOptions): Promise<Mode> {
  const addon = loadNativeAddon();
  const { version, instructionSet } = addon.init(findOrtLibrary(libraryPath));
  return {
    description: `ort native: onnxruntime ${version}, ${instructionSet}, ${threadsText(threads)}`,
    attach: (host) => createNativeSession(addon, threads, host),
  };
}

async function segmentedMode(
  threads: number,
  { worker = true }: OrtBackendOptions,
  reason: string,
): Promise<Mode> {
  const { env } = await loadStockOrt();
  // Built packages have the worker beside them; a run from TypeScript sources has not.
  const script = new URL("./worker.js", import.meta.url);
  const built = existsSync(script);
  const place = !worker
    ? "in this thread"
    : built
      ? "in a worker"
      : "in this thread, which blocks the event loop (worker.js is not built)";
  return {
    description: `ort segmented (${reason}): onnxruntime ${env.versions.node}, ${threadsText(threads)} ${place}`,
    attach: (host) =>
      createSegmentedSession(host, async () =>
        worker && built && isShared(host)
          ? createWorkerRunner(script, { host, threads })
          : createSegmentRunner(host, threads),
      ),
  };
}

const isShared = (host: HostCache) =>
  host.arenas.every(({ storage }) => storage.buffer instanceof SharedArrayBuffer);
