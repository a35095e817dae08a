import { KvCacheError } from "@kvcache/core";

export interface ApiErrorOptions {
  /** The field at fault. */
  readonly param?: string | null;
  /** Stable id for programs. */
  readonly code?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** An error that a client sees, in the shape of OpenAI's API. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly param: string | null;
  readonly code: string | null;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, options: ApiErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.status = status;
    this.param = options.param ?? null;
    this.code = options.code ?? null;
    this.headers = options.headers ?? {};
  }

  get body() {
    const { message, param, code } = this;
    return { error: { message, type: typeOf(this.status), param, code } };
  }
}

function typeOf(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

export const invalidField = (param: string, message: string, cause?: unknown): ApiError =>
  new ApiError(400, message, { param, code: "invalid_value", cause });

/** For what the API knows and this server, model or combination cannot do. */
export const unsupportedField = (param: string, message: string): ApiError =>
  new ApiError(400, message, { param, code: "unsupported_parameter" });

export const modelNotFound = (name: string, names: readonly string[]): ApiError =>
  new ApiError(
    404,
    `The model ${JSON.stringify(name)} does not exist. Served: ${names.join(", ")}.`,
    {
      param: "model",
      code: "model_not_found",
    },
  );

export const unavailable = (message: string): ApiError =>
  new ApiError(503, message, { code: "unavailable", headers: { "retry-after": "1" } });

/**
 * What an error of the engine means for a client; anything unknown is a bug and tells no details.
 * `promptField` is the field that holds the request's prompt.
 */
export function apiErrorOf(error: unknown, promptField: string | null = null): ApiError {
  if (error instanceof ApiError) return error;
  if (!(error instanceof KvCacheError))
    return new ApiError(500, "The server failed; its log says more.", { cause: error });
  const { code, message } = error;
  switch (code) {
    case "context-length-exceeded":
    case "cache-size-exceeded":
      return new ApiError(400, message, {
        param: promptField,
        code: code.replaceAll("-", "_"),
        cause: error,
      });
    case "invalid-argument":
    case "invalid-plan":
    case "not-found":
      return new ApiError(400, message, { code: "invalid_value", cause: error });
    case "missing-signal":
    case "unsupported":
      return new ApiError(400, message, { code: "unsupported_parameter", cause: error });
    case "deadline-exceeded":
      return new ApiError(408, message, { code: "deadline_exceeded", cause: error });
    case "out-of-blocks":
    case "out-of-memory":
    case "disposed":
    case "aborted":
    case "device-lost":
      return new ApiError(503, message, { code: "unavailable", cause: error });
    default:
      return new ApiError(500, "The server failed; its log says more.", { cause: error });
  }
}
