import type { FastifyReply } from "fastify";
import { apiErrorOf } from "./api-error.ts";

export interface EventStreamOptions {
  /** Between two comments that keep a silent connection open. */
  readonly pingMs: number;
  /** A client that reads nothing for so long is gone. */
  readonly stallMs: number;
}

/** Server-sent events to one client. */
export interface EventStream {
  /** Writes one event, unless the stream has ended; waits while the client reads slower than that. */
  send(data: unknown, event?: string): Promise<void>;
  /** Ends as the client expects it. */
  done(marker?: string): void;
  /** Tells what went wrong, and ends without the usual last line. */
  fail(error: unknown): void;
}

/** Begins an answer of events. Nobody is waited for any more once `signal` has fired. */
export function openEventStream(
  reply: FastifyReply,
  { pingMs, stallMs }: EventStreamOptions,
  signal: AbortSignal,
): EventStream {
  reply.hijack();
  const { raw } = reply;
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined) raw.setHeader(name, value);
  raw.writeHead(200, {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
  });
  raw.flushHeaders();
  const ping = setInterval(() => raw.write(": ping\n\n"), pingMs);
  raw.once("close", () => clearInterval(ping));

  const drained = () =>
    new Promise<void>((resolve) => {
      const settle = () => {
        clearTimeout(timer);
        raw.off("drain", settle);
        raw.off("close", settle);
        signal.removeEventListener("abort", settle);
        resolve();
      };
      const timer = setTimeout(() => raw.destroy(), stallMs);
      raw.once("drain", settle);
      raw.once("close", settle);
      signal.addEventListener("abort", settle);
      if (signal.aborted) settle();
    });

  const end = (last: string) => {
    clearInterval(ping);
    if (!raw.destroyed && !raw.writableEnded) raw.end(last);
  };

  return {
    async send(data, event) {
      if (raw.destroyed || raw.writableEnded) return;
      const name = event === undefined ? "" : `event: ${event}\n`;
      if (!raw.write(`${name}data: ${JSON.stringify(data)}\n\n`)) await drained();
    },
    done: (marker = "[DONE]") => end(marker === "" ? "" : `data: ${marker}\n\n`),
    fail: (error) => end(`data: ${JSON.stringify(apiErrorOf(error).body)}\n\n`),
  };
}
