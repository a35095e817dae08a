import type { Random } from "./random.ts";

/** The parts of JSON Schema that our OpenAPI document uses. */
export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly minItems?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
}

const words = [
  "a",
  "user",
  "full",
  "snap-kv",
  "tiny",
  "Hello world",
  "The key is 4711.",
  "{}",
  "é🙂",
];

/** A value that a schema allows, mostly: patterns and refinements are left to luck. */
export function instanceOf(
  schema: Schema,
  random: Random,
  resolve: (ref: string) => Schema,
): unknown {
  const of = (one: Schema) => instanceOf(one, random, resolve);
  if (schema.$ref) return of(resolve(schema.$ref));
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return random.pick(schema.enum);
  const branches = schema.anyOf ?? schema.oneOf;
  if (branches) return of(random.pick(branches));
  if (schema.allOf) return Object.assign({}, ...schema.allOf.map(of));
  const type = typeof schema.type === "string" ? schema.type : random.pick(schema.type ?? ["null"]);
  switch (type) {
    case "string":
      return random.pick(words).slice(0, schema.maxLength ?? 64) || "x";
    case "boolean":
      return random.chance(0.5);
    case "integer":
    case "number": {
      const low = Math.max(schema.minimum ?? schema.exclusiveMinimum ?? -4, -1000);
      const high = Math.min(schema.maximum ?? 8, low + 8);
      const value = low + random.unit() * (high - low);
      return type === "integer" ? Math.round(value) : value;
    }
    case "array":
      return Array.from({ length: Math.max(schema.minItems ?? 0, random.below(4)) }, () =>
        of(schema.items ?? {}),
      );
    case "object": {
      const properties = Object.entries(schema.properties ?? {});
      const share = 4 / Math.max(4, properties.length);
      const chosen = properties.filter(
        ([name]) => schema.required?.includes(name) || random.chance(share),
      );
      return Object.fromEntries(chosen.map(([name, one]) => [name, of(one)]));
    }
    default:
      return null;
  }
}
