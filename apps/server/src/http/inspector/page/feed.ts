import type { Frame, Hello, KeptTokens } from "../frame.ts";

export interface FeedEvents {
  onHello(hello: Hello): void;
  onFrame(frame: Frame): void;
  onState(state: "live" | "lost"): void;
  /** The server wants a key. */
  onKey(): void;
}

const KEY = "kvcache-key";

export const saveKey = (key: string): void => sessionStorage.setItem(KEY, key);

function ask(path: string, model: string | undefined, signal?: AbortSignal): Promise<Response> {
  const key = sessionStorage.getItem(KEY);
  const query = model === undefined ? "" : `?model=${encodeURIComponent(model)}`;
  return fetch(`${path}${query}`, {
    headers: key === null ? {} : { authorization: `Bearer ${key}` },
    ...(signal ? { signal } : {}),
  });
}

/** Undefined where the server does not remember it, or is gone. */
export async function fetchKept(id: number, model: string): Promise<KeptTokens | undefined> {
  try {
    const response = await ask(`/inspector/requests/${id}`, model);
    return response.ok ? await response.json() : undefined;
  } catch {
    return undefined;
  }
}

/** Reads the server's events, again and again while the connection breaks. */
export function openFeed(model: string | undefined, events: FeedEvents): () => void {
  const closed = new AbortController();
  const { signal } = closed;
  const run = async () => {
    for (let wait = 500; !signal.aborted; wait = Math.min(5000, wait * 2)) {
      try {
        const response = await ask("/inspector/events", model, signal);
        if (response.status === 401) return events.onKey();
        if (response.ok && response.body) {
          wait = 500;
          events.onState("live");
          await read(response.body, events);
        }
      } catch {
        // Said below, by state.
      }
      if (signal.aborted) return;
      events.onState("lost");
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  };
  run();
  return () => closed.abort();
}

async function read(body: ReadableStream<Uint8Array>, events: FeedEvents): Promise<void> {
  const reader = body.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>);
  let text = "";
  const stream = reader.getReader();
  for (let piece = await stream.read(); !piece.done; piece = await stream.read()) {
    text += piece.value;
    const messages = text.split("\n\n");
    text = messages.pop()!;
    for (const message of messages) {
      const name = /^event: (.*)$/m.exec(message)?.[1];
      const data = /^data: (.*)$/m.exec(message)?.[1];
      if (data === undefined) continue;
      if (name === "hello") events.onHello(JSON.parse(data));
      else if (name === "frame") events.onFrame(JSON.parse(data));
    }
  }
}
