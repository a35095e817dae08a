/// <reference lib="webworker" />
// The engine runs here, off the page's thread: what falls back to the CPU cannot freeze the page.
import { KvCacheError } from "@kvcache/core";
import { tokenizerOf } from "@kvcache/decoder";
import type { TraceEvent } from "@kvcache/engine";
import { forgetModels } from "../files/model-store.ts";
import {
  type Comparison,
  type CutRequest,
  type Failure,
  type Reply,
  type Request,
  sideNames,
} from "../protocol.ts";
import { answerSide } from "./answer-side.ts";
import { openModel, type RunningModel } from "./open-model.ts";
import { cutText, makePrompt, tokenTexts } from "./prompt.ts";

let running: RunningModel | undefined;
let traced: ((event: TraceEvent) => void) | undefined;
let stop = new AbortController();

const reply = (message: Reply) => self.postMessage(message);

const failureOf = (error: unknown): Failure =>
  error instanceof KvCacheError
    ? { code: error.code, message: error.message }
    : { code: "internal", message: error instanceof Error ? error.message : String(error) };

function modelOf(): RunningModel {
  if (running) return running;
  throw new KvCacheError("not-found", "No model is open.", { remedy: "Open one first." });
}

async function open({ source, device, contextTokens }: Extract<Request, { type: "open" }>) {
  stop.abort();
  await running?.close();
  running = undefined;
  let told = 0;
  try {
    running = await openModel({
      source,
      device,
      contextTokens,
      onProgress(stage, done, total) {
        const now = performance.now();
        if (done < total && now - told < 60) return;
        told = now;
        reply({ type: "progress", stage, done, total });
      },
      onTrace: (event) => traced?.(event),
    });
    reply({ type: "opened", model: running.opened });
  } catch (error) {
    reply({ type: "open-failed", failure: failureOf(error) });
  }
}

function cut(id: number, { text, numTokens, anchor }: CutRequest): void {
  const tokenizer = tokenizerOf(modelOf().model);
  reply({ type: "cut", id, ...cutText(tokenizer, text, numTokens, anchor) });
}

/** One side after the other: each has the device for itself, and the second reads the text once read. */
async function compare(comparison: Comparison): Promise<void> {
  const model = modelOf();
  stop = new AbortController();
  const { signal } = stop;
  const tokenizer = tokenizerOf(model.model);
  const prompt = makePrompt(tokenizer, comparison.text, comparison.question);
  reply({ type: "prompt", tokens: tokenTexts(tokenizer, prompt.ids) });
  for (const side of sideNames) {
    if (signal.aborted) break;
    const plan = comparison.sides[side];
    try {
      const run = answerSide(model, prompt, plan, comparison, signal, (event) =>
        reply({ type: "side", side, event }),
      );
      traced = run.onTrace;
      await run.run();
    } catch (error) {
      reply({ type: "side", side, event: { type: "failed", failure: failureOf(error) } });
      // Without a device the other side cannot do better.
      if (error instanceof KvCacheError && error.code === "device-lost") break;
    } finally {
      traced = undefined;
    }
  }
  reply({ type: "done", memory: model.counts() });
}

// One request at a time, in their order; a stop overtakes.
let queue: Promise<void> = Promise.resolve();

self.addEventListener("message", ({ data }: MessageEvent<Request>) => {
  if (data.type === "stop") {
    stop.abort();
    return;
  }
  queue = queue
    .then(() => handle(data))
    .catch((error: unknown) => reply({ type: "failed", failure: failureOf(error) }));
});

async function handle(request: Exclude<Request, { type: "stop" }>): Promise<void> {
  if (request.type === "open") await open(request);
  else if (request.type === "cut") cut(request.id, request);
  else if (request.type === "compare") await compare(request);
  else await forgetModels();
}
