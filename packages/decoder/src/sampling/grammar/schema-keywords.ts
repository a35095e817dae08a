import { KvCacheError } from "@kvcache/core";

/** A JSON schema that is not a boolean. */
export type SchemaObject = { readonly [keyword: string]: unknown };

/** Keywords that say nothing about which values are valid. */
const annotations = new Set([
  "$schema",
  "$id",
  "$comment",
  "$defs",
  "definitions",
  "title",
  "description",
  "default",
  "examples",
  "deprecated",
  "readOnly",
  "writeOnly",
]);

/** Keywords that are turned into grammar, by the type of value that they speak of. */
const assertions: { readonly [keyword: string]: string } = {
  $ref: "any",
  anyOf: "any",
  enum: "any",
  const: "any",
  type: "any",
  properties: "object",
  required: "object",
  additionalProperties: "object",
  items: "array",
  minItems: "array",
  maxItems: "array",
  minLength: "string",
  maxLength: "string",
  minimum: "integer",
  maximum: "integer",
  exclusiveMinimum: "integer",
  exclusiveMaximum: "integer",
};

/** Throws `unsupported` naming the first keyword that would be ignored. */
export function checkKeywords(schema: SchemaObject, where: string): void {
  for (const keyword of Object.keys(schema)) {
    if (annotations.has(keyword) || Object.hasOwn(assertions, keyword)) continue;
    throw new KvCacheError(
      "unsupported",
      `${where}: the JSON schema keyword "${keyword}" cannot be enforced.`,
      {
        value: keyword,
        remedy: `Leave it out. Enforced are: ${Object.keys(assertions).join(", ")}.`,
      },
    );
  }
}

/** Types that a schema speaks of by its keywords, where it does not name them. */
export const impliedTypes = (schema: SchemaObject): readonly string[] => [
  ...new Set(
    Object.keys(schema)
      .map((keyword) => assertions[keyword])
      .filter((type): type is string => type !== undefined && type !== "any"),
  ),
];

/** Keywords of a schema beside those named, annotations aside. */
export const otherKeywords = (schema: SchemaObject, known: readonly string[]): readonly string[] =>
  Object.keys(schema).filter((keyword) => !annotations.has(keyword) && !known.includes(keyword));

export const invalidSchema = (where: string, message: string, value?: unknown): KvCacheError =>
  new KvCacheError("invalid-argument", `${where}: ${message}`, {
    value,
    remedy: "Correct the JSON schema.",
  });
