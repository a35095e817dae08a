/**
 * Stable error codes. A caller may switch on them; messages may change.
 *
 * - `invalid-argument`      a value outside its documented range
 * - `invalid-plan`          parts of a cache plan that cannot work together
 * - `unsupported`           something real that this build, backend or model cannot do
 * - `missing-signal`        a policy needs a signal that the backend or the moment cannot give
 * - `out-of-blocks`         the pool has too few free blocks
 * - `cache-size-exceeded`   a sequence that the pool cannot hold, even with nobody beside it
 * - `out-of-memory`         memory that the platform refused
 * - `context-length-exceeded` a prompt plus its new tokens is longer than the model allows
 * - `invalid-model`         a model folder that is incomplete or malformed
 * - `invalid-file`          any other file that is malformed, truncated or of another version
 * - `not-found`             a file, model or policy that does not exist
 * - `aborted`               the caller's AbortSignal fired
 * - `deadline-exceeded`     the request's own time limit passed
 * - `disposed`              use after `dispose()`
 * - `device-lost`           the device went away
 * - `internal`              a broken invariant: a bug here, never the caller's fault
 */
export type KvCacheErrorCode =
  | "invalid-argument"
  | "invalid-plan"
  | "unsupported"
  | "missing-signal"
  | "out-of-blocks"
  | "cache-size-exceeded"
  | "out-of-memory"
  | "context-length-exceeded"
  | "invalid-model"
  | "invalid-file"
  | "not-found"
  | "aborted"
  | "deadline-exceeded"
  | "disposed"
  | "device-lost"
  | "internal";

export interface KvCacheErrorOptions {
  /** The offending value, as it was given. */
  readonly value?: unknown;
  /** What the caller can do about it, as an imperative sentence. */
  readonly remedy?: string;
  readonly cause?: unknown;
}

/** Every error that a @kvcache package throws on purpose. */
export class KvCacheError extends Error {
  override readonly name = "KvCacheError";
  readonly code: KvCacheErrorCode;
  readonly value: unknown;
  readonly remedy: string | undefined;

  constructor(code: KvCacheErrorCode, message: string, options: KvCacheErrorOptions = {}) {
    super(
      options.remedy ? `${message} ${options.remedy}` : message,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.code = code;
    this.value = options.value;
    this.remedy = options.remedy;
  }
}

/** Throws `internal` when an invariant of ours is broken. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new KvCacheError("internal", message);
}
