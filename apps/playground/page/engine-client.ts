import type { CutRequest, Reply, Request } from "./protocol.ts";

export interface EngineClient {
  send(request: Request): void;
  /** A part of a text, by tokens. */
  cut(request: CutRequest): Promise<{ text: string; numTokens: number }>;
}

/** The worker that the engine runs in; `onReply` takes everything but the answers to `cut`. */
export function startEngine(onReply: (reply: Reply) => void): EngineClient {
  const worker = new Worker(new URL("./worker/engine-worker.ts", import.meta.url), {
    type: "module",
    name: "engine",
  });
  const waiting = new Map<number, (cut: { text: string; numTokens: number }) => void>();
  let nextId = 0;
  worker.addEventListener("message", ({ data }: MessageEvent<Reply>) => {
    if (data.type === "cut") {
      waiting.get(data.id)?.(data);
      waiting.delete(data.id);
    } else onReply(data);
  });
  worker.addEventListener("error", (event) => {
    const message = event.message || "The engine's script could not be loaded.";
    onReply({ type: "open-failed", failure: { code: "internal", message } });
  });
  return {
    send: (request) => worker.postMessage(request),
    cut: (request) =>
      new Promise((resolve) => {
        const id = nextId++;
        waiting.set(id, resolve);
        worker.postMessage({ type: "cut", id, ...request } satisfies Request);
      }),
  };
}
