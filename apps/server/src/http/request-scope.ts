import type { FastifyReply, FastifyRequest } from "fastify";
import type { z } from "zod";
import type { Admission, Fleet } from "./fleet.ts";

/**
 * Serves one generating request: lets it in, aborts it when the client goes away, and lets it out.
 * Unknown fields of the body are named in the log.
 */
export async function withAdmission<R>(
  fleet: Fleet,
  request: FastifyRequest<{ Body: { model?: string | null | undefined } }>,
  reply: FastifyReply,
  schema: z.ZodObject,
  serve: (admission: Admission) => Promise<R>,
): Promise<R> {
  const unknown = Object.keys(request.body).filter((key) => !(key in schema.shape));
  if (unknown.length > 0) request.log.debug({ fields: unknown }, "unknown fields");
  const admission = fleet.admit(request.body.model);
  const onClose = () => {
    if (!reply.raw.writableFinished) admission.abort();
  };
  reply.raw.once("close", onClose);
  try {
    return await serve(admission);
  } finally {
    reply.raw.off("close", onClose);
    admission.leave();
  }
}

/** A name for an answer, of the request's id. */
export const answerId = (prefix: string, { id }: FastifyRequest): string =>
  `${prefix}-${id.replace(/[^\w-]/g, "")}`;

export const unixSeconds = (): number => Math.floor(Date.now() / 1000);
