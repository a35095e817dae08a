import type { FastifyReply, FastifyRequest } from "fastify";
import type { z } from "zod";
import { apiErrorOf } from "./api-error.ts";
import type { HttpContext } from "./context.ts";
import { type EventStream, openEventStream } from "./event-stream.ts";
import type { Admission } from "./fleet.ts";

/** What a request is answered with: a body, or events that it writes. */
export type Answer<B extends object> = B | EventWriter;
export type EventWriter = (events: EventStream) => Promise<void>;

type Body = Readonly<Record<string, unknown>> & { readonly model?: string | null | undefined };

/**
 * Serves one generating request: lets it in, answers it, aborts what it runs when the client goes
 * away or one part of it fails, and lets it out. Unknown fields of the body are named in the log.
 * Resolves to undefined where events were the answer.
 */
export async function withAdmission<B extends object>(
  { fleet, stream }: Pick<HttpContext, "fleet" | "stream">,
  request: FastifyRequest<{ Body: Body }>,
  reply: FastifyReply,
  schema: z.ZodObject,
  serve: (admission: Admission) => Promise<Answer<B>>,
): Promise<B | undefined> {
  const { body, log } = request;
  const unknown = Object.keys(body).filter((key) => !(key in schema.shape));
  if (unknown.length > 0) log.debug({ fields: unknown }, "unknown fields");
  const promptField = promptFields.find((key) => key in schema.shape && body[key] != null);
  const admission = fleet.admit(body.model);
  const onClose = () => {
    if (!reply.raw.writableFinished) admission.abort();
  };
  reply.raw.once("close", onClose);
  // Whoever left before will not leave again.
  if (reply.raw.destroyed) admission.abort();
  try {
    const answer = await serve(admission);
    if (typeof answer !== "function") return answer;
    const events = openEventStream(reply, stream, admission.signal);
    try {
      await (answer as EventWriter)(events);
    } catch (error) {
      log.warn({ err: error }, "stream failed");
      events.fail(apiErrorOf(error, promptField));
    }
    return undefined;
  } catch (error) {
    throw apiErrorOf(error, promptField);
  } finally {
    reply.raw.off("close", onClose);
    // After an error others of its sequences may still run, for nobody.
    admission.abort();
    admission.leave();
  }
}

/** Where a body may hold its prompt. */
const promptFields = ["messages", "prompt", "input"] as const;

/** A name for an answer, of the request's id. */
export const answerId = (prefix: string, { id }: FastifyRequest): string =>
  `${prefix}-${id.replace(/[^\w-]/g, "")}`;

export const unixSeconds = (): number => Math.floor(Date.now() / 1000);
