import { z } from "zod";
import { messages } from "./chat.ts";
import { maybe } from "./fields.ts";
import { kv, kvAliases } from "./kv.ts";

export const snapshotRequest = z
  .looseObject({
    model: maybe(z.string().max(512), "Default: the first model that is served"),
    messages: messages.optional(),
    prompt: maybe(z.string().min(1)),
    kv: maybe(kv),
    ...kvAliases,
    ttl_seconds: maybe(z.int().min(1), "How long it is kept; at most what the server allows"),
    timeout: maybe(z.number().gt(0), "Seconds"),
  })
  .refine(({ messages, prompt }) => (messages === undefined) !== (prompt == null), {
    error: "give either messages or prompt",
    path: ["messages"],
  });

export const snapshot = z.object({
  object: z.literal("kv.snapshot"),
  id: z.string(),
  model: z.string(),
  policy: z.string(),
  tokens: z.number(),
  tokens_kept: z.number(),
  bytes: z.number(),
  created: z.number(),
  expires: z.number(),
});

export const snapshotCreated = snapshot.extend({
  usage: z.object({
    prompt_tokens: z.number(),
    prompt_tokens_details: z.object({ cached_tokens: z.number() }),
  }),
});

export const snapshotList = z.object({
  object: z.literal("list"),
  data: z.array(snapshot),
  bytes: z.number(),
  max_bytes: z.number(),
});

export const deletedSnapshot = z.object({
  id: z.string(),
  object: z.literal("kv.snapshot"),
  deleted: z.literal(true),
});
