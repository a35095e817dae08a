import { z } from "zod";
import { count, maybe } from "./fields.ts";

const positive = z.int().min(1);

export const budget = z
  .union([
    z.strictObject({ tokens: positive }),
    z.strictObject({ ratio: z.number().gt(0).max(1) }),
    z.strictObject({ bytes: z.union([positive, z.string().max(32)]) }),
  ])
  .describe("How much is kept: tokens a row, a fraction, or bytes (a number or e.g. 64MiB)");

/** What a request may say about its cache. */
export const kv = z
  .strictObject({
    policy: maybe(
      z.string().max(1024),
      'A policy\'s name, or a plan as "snap-kv(window=32)@0.25"; "auto" is dbudget-kv',
    ),
    budget: maybe(budget),
    protect: maybe(z.strictObject({ sinks: maybe(count), recent: maybe(count) })),
    window: maybe(positive, "Queries that the policy observes"),
    interval: maybe(positive, "Generated tokens between two compressions"),
    snapshot: maybe(
      z.string().max(64),
      "Id of a snapshot that the prompt begins with; the rest of kv is its own where it is left out",
    ),
    compressAfter: maybe(
      count,
      "Chat: index of the message after which the cache is compressed; completions: prompt tokens",
    ),
  })
  .describe("Which tokens of the KV cache stay");

/** Names that vllm-kvcompress gave to some of it. */
export const kvAliases = {
  max_cache_tokens: maybe(positive, "Same as kv.budget.tokens"),
  protected_window_size: maybe(count, "Same as kv.protect.recent"),
  compress_once: maybe(z.boolean(), "Compress when the prompt ends, not while generating"),
};

export const kvUsage = z.object({
  policy: z.string(),
  tokens_seen: z.number(),
  tokens_kept: z.number(),
  bytes_peak: z.number(),
  bytes_now: z.number(),
  compressions: z.number(),
});

export type KvFields = z.infer<typeof kv>;
