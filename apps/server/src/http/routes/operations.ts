import { z } from "zod";
import { unavailable } from "../api-error.ts";
import type { HttpContext, Routes } from "../context.ts";
import { errorBody } from "../schemas/error.ts";

/** What operators and routers ask for. */
export const operationRoutes: Routes =
  ({ fleet, metrics, version }: HttpContext) =>
  async (app) => {
    const tags = ["operations"];
    app.get(
      "/health",
      {
        schema: {
          summary: "200 while requests are taken, 503 while loading or draining",
          tags,
          response: { 200: z.void().describe("Empty"), 503: errorBody },
        },
      },
      async (_, reply) => {
        if (fleet.phase !== "ready") throw unavailable(`The server is ${fleet.phase}.`);
        return reply.code(200).send();
      },
    );
    app.get(
      "/version",
      {
        schema: {
          summary: "The version",
          tags,
          response: { 200: z.object({ version: z.string() }) },
        },
      },
      async () => ({ version }),
    );
    app.get("/metrics", { schema: { summary: "Prometheus metrics", tags } }, async (_, reply) =>
      reply.type(metrics.contentType).send(await metrics.text()),
    );
  };
