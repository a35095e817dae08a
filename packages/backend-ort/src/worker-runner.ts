import { Worker } from "node:worker_threads";
import { KvCacheError } from "@kvcache/core";
import type { ProgramSegment } from "./segment-program.ts";
import type { SegmentRunner } from "./segment-runner.ts";
import { unsharedArrays } from "./unshared-arrays.ts";
import {
  unpackError,
  type WorkerReply,
  type WorkerRequest,
  type WorkerStart,
} from "./worker-protocol.ts";

interface Pending {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/** A segment runner in a worker thread; the cache's memory must be shared. */
export function createWorkerRunner(script: URL, start: WorkerStart): SegmentRunner {
  const worker = new Worker(script, { workerData: start });
  worker.unref();
  const pending = new Map<number, Pending>();
  let nextId = 0;
  let failure: Error | undefined;

  const stop = (cause?: unknown) => {
    failure ??= new KvCacheError("internal", "The worker thread of this session ended.", { cause });
    for (const { reject } of pending.values()) reject(failure);
    pending.clear();
  };
  worker.on("error", stop);
  worker.on("exit", () => stop());
  worker.on("message", (reply: WorkerReply) => {
    const call = pending.get(reply.id);
    pending.delete(reply.id);
    if (pending.size === 0) worker.unref();
    if ("error" in reply) call?.reject(unpackError(reply.error));
    else call?.resolve(reply.result);
  });

  const call = <T>(
    method: keyof SegmentRunner,
    values: readonly unknown[],
    transfer: readonly ArrayBuffer[] = [],
  ): Promise<T> =>
    new Promise((resolve, reject) => {
      if (failure) throw failure;
      const id = nextId++;
      const request: WorkerRequest = { id, method, arguments: values };
      worker.postMessage(request, transfer);
      // Only work in flight keeps the process alive.
      worker.ref();
      pending.set(id, { resolve: resolve as Pending["resolve"], reject });
    });

  return {
    open: (model, graph) => call("open", [model, graph]),
    add: (model, segment) => call("add", [model, segment], buffersOf(segment)),
    forward: (model, step, taps) => call("forward", [model, step, taps]),
    close: (model) => call("close", [model]),
    async runKernel(name, params) {
      const arrays = unsharedArrays(params);
      const results = await call<typeof arrays>("runKernel", [name, params]);
      for (const [i, array] of arrays.entries()) array.set(results[i]! as never);
    },
    async dispose() {
      await call("dispose", []);
      await worker.terminate();
    },
  };
}

/** Memory of a segment's weights, which moves to the worker instead of being copied. */
const buffersOf = (segment: ProgramSegment): ArrayBuffer[] =>
  segment.kind === "attention"
    ? []
    : segment.model.external.map(({ data }) => data.buffer as ArrayBuffer);
