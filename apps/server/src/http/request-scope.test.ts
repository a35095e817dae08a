import { EventEmitter } from "node:events";
import type { FastifyReply, FastifyRequest } from "fastify";
import { expect, it } from "vitest";
import { z } from "zod";
import { createFleet } from "./fleet.ts";
import { withAdmission } from "./request-scope.ts";
import type { ServedModel } from "./served-model.ts";

const model = { id: "m", run: { limits: { sequences: 1 } } } as unknown as ServedModel;

/** A request whose client is there, or has left already. */
function asked(destroyed: boolean) {
  const fleet = createFleet({ maxQueue: 0 });
  fleet.add(model);
  fleet.ready();
  const raw = Object.assign(new EventEmitter(), { destroyed, writableFinished: false });
  const request = { body: {} } as unknown as FastifyRequest<{ Body: Record<string, unknown> }>;
  const serve = <B extends object>(answer: (signal: AbortSignal) => Promise<B>) =>
    withAdmission(
      { fleet, stream: { pingMs: 1000, stallMs: 1000 } },
      request,
      { raw } as unknown as FastifyReply,
      z.object({}),
      ({ signal }) => answer(signal),
    );
  return { fleet, raw, serve };
}

it("whoever left before the request was taken up is not served", async () => {
  for (const gone of [false, true])
    expect(await asked(gone).serve(async ({ aborted }) => ({ aborted }))).toEqual({
      aborted: gone,
    });
});

it("aborts when the client leaves, and when any part fails; gives its place back", async () => {
  const { fleet, raw, serve } = asked(false);
  const signals: AbortSignal[] = [];
  await serve(async (signal) => {
    signals.push(signal);
    raw.emit("close");
    return { aborted: signal.aborted };
  }).then((answer) => expect(answer).toEqual({ aborted: true }));
  const failing = serve(async (signal) => {
    signals.push(signal);
    throw new Error("one of its sequences failed");
  });
  await expect(failing).rejects.toMatchObject({ status: 500 });
  expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
  expect(raw.listenerCount("close")).toBe(0);
  // Its one place is free again.
  fleet.admit(null).leave();
  expect(await fleet.drain(0)).toBe(0);
});
