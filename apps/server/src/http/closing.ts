import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";

/** For answers that are still on their way to slow readers. */
const GRACE_MS = 2_000;

/**
 * Lets `app.close` end soon: Node would wait for connections that have asked nothing yet (browsers
 * open some on suspicion) and for requests that never become whole.
 */
export function closeConnections(app: FastifyInstance): void {
  const { server } = app;
  const silent = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    silent.add(socket);
    socket.once("close", () => silent.delete(socket));
  });
  server.on("request", ({ socket }) => silent.delete(socket));
  app.addHook("preClose", async () => {
    for (const socket of silent) socket.destroy();
    setTimeout(() => server.closeAllConnections(), GRACE_MS).unref();
  });
}
