import { KvCacheError } from "@kvcache/core";

/**
 * Rethrows an error of onnxruntime: `invalid-argument` where one of our ops refused what it was
 * given, `out-of-memory`, else `internal`. Errors that have a code already pass.
 */
export function rethrowOrtError(error: unknown): never {
  if (error instanceof KvCacheError) throw error;
  const text = error instanceof Error ? error.message : String(error);
  const ours = /while running \w+ node\..*? Status Message: (\w+: .*)/s.exec(text);
  if (ours?.[1] && /^(PagedAttention|Rope|WindowScore|KeyNorm|TopK|Compact): /.test(ours[1]))
    throw new KvCacheError("invalid-argument", ours[1], { cause: error });
  if (/bad_alloc|Failed to allocate memory/.test(text))
    throw new KvCacheError("out-of-memory", `onnxruntime: ${text}`, {
      remedy: "Use a smaller weight format, fewer tokens per step or a smaller cache.",
      cause: error,
    });
  throw new KvCacheError("internal", `onnxruntime: ${text}`, { cause: error });
}
