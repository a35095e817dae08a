// The worker thread of segmented mode: a segment runner whose methods are called by messages.
import { parentPort, workerData } from "node:worker_threads";
import { assert } from "@kvcache/core";
import { createSegmentRunner, type SegmentRunner } from "./segment-runner.ts";
import { unsharedArrays } from "./unshared-arrays.ts";
import {
  packError,
  type WorkerReply,
  type WorkerRequest,
  type WorkerStart,
} from "./worker-protocol.ts";

const port = parentPort;
assert(port, "worker.js is the entry of a worker thread.");
const { host, threads } = workerData as WorkerStart;
const runner = createSegmentRunner(host, threads);

async function perform({ method, arguments: given }: WorkerRequest): Promise<unknown> {
  const call = (await runner)[method] as (...values: readonly unknown[]) => Promise<unknown>;
  const result = await call(...given);
  // A kernel writes into its parameters: what is not shared memory must travel back.
  return method === ("runKernel" satisfies keyof SegmentRunner) ? unsharedArrays(given[1]) : result;
}

port.on("message", async (request: WorkerRequest) => {
  let reply: WorkerReply;
  try {
    reply = { id: request.id, result: await perform(request) };
  } catch (error) {
    reply = { id: request.id, error: packError(error) };
  }
  port.postMessage(reply);
});
