import { randomUUID } from "node:crypto";
import cors from "@fastify/cors";
import swagger from "@fastify/swagger";
import fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyServerOptions,
} from "fastify";
import {
  hasZodFastifySchemaValidationErrors,
  jsonSchemaTransform,
  validatorCompiler,
  type ZodTypeProvider,
} from "fastify-type-provider-zod";
import { ApiError, apiErrorOf } from "./api-error.ts";
import { closeConnections } from "./closing.ts";
import type { HttpContext } from "./context.ts";
import { chatRoutes } from "./routes/chat.ts";
import { completionRoutes } from "./routes/completions.ts";
import { inspectorRoutes } from "./routes/inspector.ts";
import { modelRoutes } from "./routes/models.ts";
import { operationRoutes } from "./routes/operations.ts";
import { responseRoutes } from "./routes/responses.ts";
import { snapshotRoutes } from "./routes/snapshots.ts";
import { tokenRoutes } from "./routes/tokens.ts";
import { createKeyCheck } from "./security.ts";

export interface HttpServerOptions extends HttpContext {
  readonly apiKeys: readonly string[];
  /** Origins whose pages may ask; none: no page may. */
  readonly corsOrigins: readonly string[];
  readonly maxBodyBytes: number;
  /** A level of pino, or "silent". */
  readonly logLevel: string;
}

const rooms = [
  chatRoutes,
  completionRoutes,
  responseRoutes,
  modelRoutes,
  tokenRoutes,
  operationRoutes,
  snapshotRoutes,
  inspectorRoutes,
];

/** zod measures everything that has a length, and throws where that is no number. */
const patientValidator: typeof validatorCompiler = (route) => {
  const validate = validatorCompiler(route);
  return (data: unknown) => {
    try {
      return validate(data);
    } catch (cause) {
      const error = new ApiError(400, "A field has a length that is no number.", { cause });
      return { error };
    }
  };
};

/** Errors without the values that were at fault: these may be prompts. */
const errorForLog = (error: Error) => ({
  type: error.name,
  message: error.message,
  stack: error.stack ?? "",
  ...(error instanceof ApiError ? { status: error.status } : {}),
  ...(error.cause instanceof Error ? { cause: error.cause.stack } : {}),
});

/** The HTTP API over a fleet of models. The caller listens and closes. */
export async function createHttpServer(options: HttpServerOptions): Promise<FastifyInstance> {
  const { corsOrigins, version, logLevel } = options;
  const serverOptions: FastifyServerOptions = {
    logger: logLevel === "silent" ? false : { level: logLevel, serializers: { err: errorForLog } },
    bodyLimit: options.maxBodyBytes,
    // The whole request must arrive in time; answers may take as long as they need.
    requestTimeout: 60_000,
    keepAliveTimeout: 72_000,
    requestIdHeader: false,
    genReqId: ({ headers }) => {
      const given = headers["x-request-id"];
      return typeof given === "string" && /^[\w.:-]{1,128}$/.test(given) ? given : randomUUID();
    },
    routerOptions: { maxParamLength: 512 },
    // A path that is no path: the router's own errors have another shape.
    frameworkErrors: (error, _, reply) => {
      const { status, body } = httpError(error);
      (reply as unknown as FastifyReply).code(status).send(body);
    },
  };
  const app = fastify(serverOptions).withTypeProvider<ZodTypeProvider>();
  closeConnections(app as unknown as FastifyInstance);
  // JSON is the only language spoken here: pages cannot send it without asking first.
  app.removeContentTypeParser("text/plain");
  app.setValidatorCompiler(patientValidator);
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));

  app.setErrorHandler((error: FastifyError, request, reply) => {
    const known = httpError(error);
    if (known.status === 503) request.log.warn({ reason: known.message }, "unavailable");
    else if (known.status >= 500) request.log.error({ err: error }, "request failed");
    else
      request.log.info({ code: known.code, param: known.param, reason: known.message }, "refused");
    return reply.code(known.status).headers(known.headers).send(known.body);
  });
  app.setNotFoundHandler((request, reply) => {
    const { method, url } = request;
    const path = url.split("?")[0]!;
    const { body } = new ApiError(404, `There is no ${method} ${path}.`, { code: "not_found" });
    return reply.code(404).send(body);
  });

  const checkKey = createKeyCheck(options.apiKeys);
  app.addHook("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id);
    checkKey(request);
  });
  if (corsOrigins.length > 0)
    await app.register(cors, {
      origin: [...corsOrigins],
      methods: ["GET", "POST", "DELETE", "OPTIONS"],
    });

  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "kvcache", version, description: "OpenAI's API over a compressed KV cache" },
      components: { securitySchemes: { key: { type: "http", scheme: "bearer" } } },
      ...(options.apiKeys.length > 0 ? { security: [{ key: [] }] } : {}),
    },
    transform: jsonSchemaTransform,
  });
  for (const room of rooms) await app.register(room(options));
  app.get("/openapi.json", { schema: { hide: true } }, async () => app.swagger());
  return app as unknown as FastifyInstance;
}

/** What went wrong with a request, ours or the framework's. */
function httpError(error: FastifyError): ApiError {
  if (hasZodFastifySchemaValidationErrors(error)) {
    const { instancePath, message = "is not valid" } = error.validation[0]!;
    const param = instancePath.split("/").filter(Boolean).join(".") || null;
    const notServed = /is not served|is served as/.test(message);
    const code = notServed ? "unsupported_parameter" : "invalid_value";
    return new ApiError(400, param ? `${param}: ${message}` : message, { param, code });
  }
  const status = error.statusCode;
  if (status !== undefined && status >= 400 && status < 500)
    return new ApiError(status, error.message, { code: error.code?.toLowerCase() ?? null });
  return apiErrorOf(error);
}
