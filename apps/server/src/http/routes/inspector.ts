import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { ApiError } from "../api-error.ts";
import type { HttpContext, Routes } from "../context.ts";
import { openEventStream } from "../event-stream.ts";
import page from "../inspector/page/index.html?page";
import { errorBody } from "../schemas/error.ts";

const FRAME_MS = 400;

/** Nothing may be loaded from elsewhere, and nobody may frame the page. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'unsafe-inline'",
  "style-src 'unsafe-inline'",
  "connect-src 'self'",
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const keptTokens = z.object({
  id: z.number(),
  promptTokens: z.number(),
  positions: z.number(),
  numLayers: z.number(),
  numKvHeads: z.number(),
  rows: z
    .string()
    .nullable()
    .describe("One bit a position, rows padded to bytes, lowest bit first, base64; null: all kept"),
  texts: z.array(z.string()).readonly().nullable(),
  known: z.boolean().describe("False where the positions were forgotten"),
});

/** The page that shows the cache at work, and what feeds it. Nothing of it where it is off. */
export const inspectorRoutes: Routes =
  ({ fleet, inspector, stream }: HttpContext) =>
  async (app) => {
    if (!inspector) return;
    const tags = ["inspector"];
    const closing = new AbortController();
    app.addHook("preClose", async () => closing.abort());

    const find = (name: string | undefined) => {
      const { id, inspector: seen } = fleet.find(name);
      if (!seen)
        throw new ApiError(404, `The model ${id} is not inspected.`, { code: "not_found" });
      return { id, seen };
    };

    app.get(
      "/inspector",
      { schema: { summary: "A page that shows the cache at work", tags } },
      async (_, reply) =>
        reply
          .type("text/html; charset=utf-8")
          .header("content-security-policy", contentSecurityPolicy)
          .header("cache-control", "no-cache")
          .send(page),
    );

    app.get(
      "/inspector/events",
      {
        schema: {
          summary: "Server-sent events: one hello, then frames",
          tags,
          querystring: z.object({ model: z.string().max(512).optional() }),
        },
      },
      async ({ query }, reply) => {
        const { id, seen } = find(query.model);
        const left = new AbortController();
        reply.raw.once("close", () => left.abort());
        if (reply.raw.destroyed) left.abort();
        const signal = AbortSignal.any([left.signal, closing.signal]);
        const events = openEventStream(reply, stream, signal);
        const models = fleet.models.map(({ id }) => id);
        try {
          await events.send({ model: id, models, ...seen.hello() }, "hello");
          for (let last = ""; !signal.aborted && fleet.phase === "ready"; ) {
            const frame = seen.frame();
            const text = JSON.stringify({ ...frame, sample: { ...frame.sample, time: 0 } });
            if (text !== last) await events.send(frame, "frame");
            last = text;
            await sleep(FRAME_MS, undefined, { signal }).catch(() => {});
          }
        } catch (error) {
          events.fail(error);
        }
        events.done("");
        return reply;
      },
    );

    app.get(
      "/inspector/requests/:id",
      {
        schema: {
          summary: "Which positions the heads of a request keep; texts where the server shows them",
          tags,
          params: z.object({ id: z.coerce.number().int().min(0) }),
          querystring: z.object({ model: z.string().max(512).optional() }),
          response: { 200: keptTokens, 404: errorBody },
        },
      },
      async ({ params, query }) => {
        const kept = find(query.model).seen.kept(params.id);
        if (kept) return kept;
        throw new ApiError(404, `Request ${params.id} is not remembered.`, {
          param: "id",
          code: "not_found",
        });
      },
    );
  };
