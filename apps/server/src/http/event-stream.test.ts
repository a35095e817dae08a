import { once } from "node:events";
import { connect, type Socket } from "node:net";
import fastify from "fastify";
import { afterEach, expect, it } from "vitest";
import { unavailable } from "./api-error.ts";
import { type EventStream, openEventStream } from "./event-stream.ts";
import { eventsOf } from "./test-server.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

/** A server whose only answer is what `write` sends. */
async function answering(write: (events: EventStream) => Promise<void>, signal: AbortSignal) {
  const app = fastify();
  app.get("/", async (_, reply) => {
    await write(openEventStream(reply, { pingMs: 60_000, stallMs: 60_000 }, signal));
    return reply;
  });
  const url = await app.listen({ host: "127.0.0.1", port: 0 });
  closers.push(() => {
    app.server.closeAllConnections();
    return app.close();
  });
  return url;
}

it("nothing is written behind the end, whoever still tries", async () => {
  const url = await answering(async (events) => {
    await events.send(1);
    events.fail(unavailable("Enough."));
    // Its siblings hear of it later.
    await events.send(2);
    events.done();
    await events.send(3);
  }, new AbortController().signal);
  const [first, last, ...more] = eventsOf(await (await fetch(url)).text());
  expect([first, last.error.message, more]).toEqual([1, "Enough.", []]);
});

it("an abort ends the wait for a client that does not read", async () => {
  const controller = new AbortController();
  const large = "x".repeat(2 ** 20);
  let sent = 0;
  const ended = new Promise<void>((resolve) => {
    void answering(async (events) => {
      while (!controller.signal.aborted) {
        await events.send(large);
        sent++;
      }
      resolve();
    }, controller.signal).then(async (url) => {
      const socket: Socket = connect(Number(new URL(url).port), "127.0.0.1").pause();
      closers.push(() => socket.destroy());
      await once(socket, "connect");
      socket.write("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    });
  });
  // It reads nothing, so at some point nothing more is sent.
  for (let before = -1; sent === 0 || before !== sent; ) {
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  controller.abort();
  await ended;
});
