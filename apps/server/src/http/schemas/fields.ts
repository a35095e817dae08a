import { z } from "zod";

/** A field that may be absent or null, which means the same. */
export const maybe = <T extends z.ZodType>(schema: T, description?: string) =>
  description === undefined ? schema.nullish() : schema.nullish().describe(description);

/** A field that the API knows and this server cannot serve: only null is accepted. */
export const notServed = (why: string) =>
  z
    .null({ error: `is not served: ${why}` })
    .optional()
    .describe(`Not served: ${why}`);

/** A field of which only the value that changes nothing is served. */
export const onlyNeutral = <T extends string | number | boolean>(value: T, why: string) =>
  z
    .literal(value, { error: `is served as ${JSON.stringify(value)} only: ${why}` })
    .nullish()
    .describe(`Served as ${JSON.stringify(value)} only: ${why}`);

export const count = z.int().min(0);
export const tokenId = z.int().min(0).max(0x7fffffff);
export const tokenIds = z.array(tokenId);

/** Asks that a prefix stays cached longer than others. */
export const cacheControl = z.looseObject({
  type: z.literal("ephemeral", { error: "is not served: only ephemeral is" }),
  ttl: maybe(z.enum(["5m", "1h"]), "How long; default 5m"),
});
export type CacheControl = z.infer<typeof cacheControl>;
