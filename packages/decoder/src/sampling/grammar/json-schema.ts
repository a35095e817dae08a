import { KvCacheError } from "@kvcache/core";
import { choice, type GrammarSymbol, one, type Rule, type Sequence, text } from "./grammar.ts";
import { integersBetween, MAX_WRITTEN } from "./integer-range.ts";
import {
  jsonArray,
  jsonInteger,
  jsonMap,
  jsonNumber,
  jsonString,
  jsonValue,
} from "./json-grammar.ts";
import { objectOf } from "./object-grammar.ts";
import {
  checkKeywords,
  impliedTypes,
  invalidSchema,
  otherKeywords,
  type SchemaObject,
} from "./schema-keywords.ts";

const MAX_DEPTH = 64;
const MAX_SCHEMAS = 4096;

interface Place {
  /** JSON pointer, for errors. */
  readonly where: string;
  readonly depth: number;
  /** References that led here without a character being written in between. */
  readonly through: readonly string[];
}

/**
 * The grammar of the JSON values that a schema describes, in the order in which it lists their
 * properties. Whatever the grammar allows is valid; it leaves out some of what is valid: properties
 * that are not listed (unless `additionalProperties` alone is given) and numbers of more digits than
 * a float64 holds. Throws `unsupported` for a keyword that it cannot enforce, by name, and
 * `invalid-argument` for a schema that is none or that nothing satisfies.
 */
export function jsonSchemaGrammar(schema: unknown): Rule {
  const references = new Map<string, Rule>();
  let numSchemas = 0;

  function compile(value: unknown, place: Place): GrammarSymbol {
    const { where, depth } = place;
    if (value === true) return jsonValue;
    if (value === false) throw invalidSchema(where, "nothing is valid for the schema false.");
    if (!isObject(value)) throw invalidSchema(where, "a schema must be an object.", value);
    if (depth > MAX_DEPTH || ++numSchemas > MAX_SCHEMAS)
      throw invalidSchema(where, `a schema may be ${MAX_DEPTH} deep and ${MAX_SCHEMAS} large.`);
    checkKeywords(value, where);
    if ("$ref" in value) return reference(alone(value, "$ref", where), place);
    if ("anyOf" in value) {
      const options = alone(value, "anyOf", where);
      if (!Array.isArray(options) || options.length === 0)
        throw invalidSchema(where, "anyOf must be a list of schemas.", options);
      return choice(
        ...options.map((option, i) => [compile(option, inside(place, `anyOf/${i}`, true))]),
      );
    }
    const types = typesOf(value, where);
    if ("const" in value) return literals([alone(value, "const", where, "type")], types, where);
    if ("enum" in value) return literals(alone(value, "enum", where, "type"), types, where);
    if (types.length === 0) return jsonValue;
    return choice(...types.flatMap((type) => alternatives(type, value, place)));
  }

  function reference(pointer: unknown, place: Place): GrammarSymbol {
    if (typeof pointer !== "string" || !/^#(\/|$)/.test(pointer))
      throw invalidSchema(place.where, "$ref must point into the schema itself.", pointer);
    if (place.through.includes(pointer))
      throw invalidSchema(place.where, `${pointer} refers to nothing but itself.`, pointer);
    const known = references.get(pointer);
    if (known) return one(known);
    const rule: Rule = { alternatives: [] };
    references.set(pointer, rule);
    const target = resolve(schema, pointer, place.where);
    const through = [...place.through, pointer];
    rule.alternatives = [[compile(target, { where: pointer, depth: place.depth + 1, through })]];
    return one(rule);
  }

  function alternatives(type: string, value: SchemaObject, place: Place): readonly Sequence[] {
    const { where } = place;
    switch (type) {
      case "null":
        return [text("null")];
      case "boolean":
        return [text("true"), text("false")];
      case "string":
        return [jsonString(...bounds(value, "minLength", "maxLength", where))];
      case "integer":
        return integers(value, where);
      case "number":
        for (const keyword of ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"])
          if (keyword in value)
            throw new KvCacheError(
              "unsupported",
              `${where}: "${keyword}" can be enforced for integers only.`,
              { value: keyword, remedy: 'Use type "integer", or leave it out.' },
            );
        return [jsonNumber];
      case "array": {
        const item = compile(value.items ?? true, inside(place, "items"));
        return jsonArray(item, ...bounds(value, "minItems", "maxItems", where));
      }
      case "object":
        return objects(value, place);
      default:
        throw invalidSchema(where, `there is no type ${JSON.stringify(type)}.`, type);
    }
  }

  function objects(value: SchemaObject, place: Place): readonly Sequence[] {
    const { properties = {}, required = [], additionalProperties } = value;
    if (!isObject(properties))
      throw invalidSchema(place.where, "properties must be an object.", properties);
    if (!Array.isArray(required) || required.some((name) => typeof name !== "string"))
      throw invalidSchema(place.where, "required must be a list of names.", required);
    const listed = Object.entries(properties).map(([name, property]) => ({
      name,
      required: required.includes(name),
      value: compile(property, inside(place, `properties/${name}`)),
    }));
    const unlisted = [...new Set<string>(required)].filter((n) => !Object.hasOwn(properties, n));
    if (unlisted.length > 0 && additionalProperties === false)
      throw invalidSchema(place.where, `"${unlisted[0]}" is required and not allowed.`, unlisted);
    const other = additionalProperties ?? true;
    const extra = () => compile(other, inside(place, "additionalProperties"));
    const isMap = listed.length + unlisted.length === 0;
    if (isMap && other !== false) return jsonMap(extra());
    const more = unlisted.map((name) => ({ name, required: true, value: extra() }));
    return [objectOf([...listed, ...more])];
  }

  return { alternatives: [[compile(schema, { where: "#", depth: 0, through: ["#"] })]] };
}

const isObject = (value: unknown): value is SchemaObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Exactly these values, as far as they are of the types. */
function literals(values: unknown, types: readonly string[], where: string): GrammarSymbol {
  const isOf = (value: unknown, type: string) =>
    type === "integer"
      ? Number.isInteger(value)
      : type === (value === null ? "null" : Array.isArray(value) ? "array" : typeof value);
  const fitting = (Array.isArray(values) ? values : []).filter(
    (value) => types.length === 0 || types.some((type) => isOf(value, type)),
  );
  if (fitting.length > 0) return choice(...fitting.map((value) => text(JSON.stringify(value))));
  throw invalidSchema(where, "there is no value to choose from.", values);
}

/** The place of a part; `through`: nothing was written yet. */
const inside = (place: Place, step: string, through = false): Place => ({
  where: `${place.where}/${step}`,
  depth: place.depth + 1,
  through: through ? place.through : [],
});

/** The value of a keyword that stands by itself, but for `beside`. */
function alone(schema: SchemaObject, keyword: string, where: string, beside?: string): unknown {
  const others = otherKeywords(schema, beside ? [keyword, beside] : [keyword]);
  if (others.length === 0) return schema[keyword];
  throw new KvCacheError(
    "unsupported",
    `${where}: "${others[0]}" beside "${keyword}" cannot be enforced.`,
    { value: others[0], remedy: `Leave one of the two out.` },
  );
}

function typesOf(schema: SchemaObject, where: string): readonly string[] {
  const { type } = schema;
  if (type === undefined) return impliedTypes(schema);
  const types = Array.isArray(type) ? type : [type];
  if (types.length > 0 && types.every((one) => typeof one === "string")) return types;
  throw invalidSchema(where, "type must be a name or a list of names.", type);
}

function bounds(
  schema: SchemaObject,
  minKeyword: string,
  maxKeyword: string,
  where: string,
): [min: number, max: number] {
  const { [minKeyword]: min = 0, [maxKeyword]: max = Number.POSITIVE_INFINITY } = schema;
  const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  if (!isCount(min)) throw invalidSchema(where, `${minKeyword} must be a count.`, min);
  if (max !== Number.POSITIVE_INFINITY && !isCount(max))
    throw invalidSchema(where, `${maxKeyword} must be a count.`, max);
  if ((min as number) > (max as number))
    throw invalidSchema(where, `${minKeyword} is above ${maxKeyword}.`, min);
  return [min as number, max as number];
}

function integers(schema: SchemaObject, where: string): readonly Sequence[] {
  const given = (keyword: string): number | undefined => {
    const value = schema[keyword];
    if (value === undefined || (typeof value === "number" && Number.isFinite(value))) return value;
    throw invalidSchema(where, `${keyword} must be a number.`, value);
  };
  const above = given("exclusiveMinimum");
  const below = given("exclusiveMaximum");
  const lows = [given("minimum"), above === undefined ? undefined : Math.floor(above) + 1];
  const highs = [given("maximum"), below === undefined ? undefined : Math.ceil(below) - 1];
  if ([...lows, ...highs].every((bound) => bound === undefined)) return [jsonInteger];
  const low = Math.max(-MAX_WRITTEN, ...lows.map((x) => Math.ceil(x ?? -MAX_WRITTEN)));
  const high = Math.min(MAX_WRITTEN, ...highs.map((x) => Math.floor(x ?? MAX_WRITTEN)));
  if (low > high)
    throw invalidSchema(where, `no integer of up to 15 digits is in ${low} … ${high}.`, schema);
  return integersBetween(low === 0 ? 0 : low, high === 0 ? 0 : high);
}

/** What a JSON pointer points at. */
function resolve(root: unknown, pointer: string, where: string): unknown {
  let value = root;
  for (const part of pointer.slice(2).split("/").filter(Boolean)) {
    const key = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
    const holder = value as SchemaObject;
    if (typeof holder !== "object" || holder === null || !Object.hasOwn(holder, key))
      throw invalidSchema(where, `${pointer} does not exist.`, pointer);
    value = holder[key];
  }
  return value;
}
