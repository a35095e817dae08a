import { Ajv } from "ajv";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRandom } from "../random.ts";
import { createByteMachine } from "./byte-machine.ts";
import type { Rule } from "./grammar.ts";
import { jsonObjectGrammar, jsonSchemaGrammar } from "./index.ts";
import { integersBetween } from "./integer-range.ts";

const encoder = new TextEncoder();

function accepts(grammar: Rule, text: string): boolean {
  const machine = createByteMachine(grammar);
  let state: ReturnType<typeof machine.step> = machine.start;
  for (const byte of encoder.encode(text)) state = state && machine.step(state, byte);
  return state?.accepts === true;
}

/** A text of the grammar, byte by byte at random; tries to end once it is `length` long. */
function write(grammar: Rule, seed: number, length = 60): string | undefined {
  const random = createRandom(seed);
  const machine = createByteMachine(grammar);
  let state = machine.start;
  const bytes: number[] = [];
  while (!(state.accepts && (state.waiting.length === 0 || bytes.length > length))) {
    if (bytes.length > 4000) return undefined;
    const open = Array.from({ length: 256 }, (_, b) => b).filter((b) => machine.step(state, b));
    const closing = open.filter((byte) => '"}]'.includes(String.fromCharCode(byte)));
    const from = bytes.length > length && closing.length > 0 ? closing : open;
    bytes.push(from[Math.floor(random() * from.length)]!);
    state = machine.step(state, bytes.at(-1)!)!;
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes));
}

const schemas: Record<string, object> = {
  person: {
    type: "object",
    title: "a person",
    properties: {
      name: { type: "string", minLength: 1, maxLength: 12 },
      age: { type: "integer", minimum: 0, maximum: 130 },
      "e-mail": { type: ["string", "null"] },
    },
    required: ["name", "age"],
    additionalProperties: false,
  },
  optionals: { properties: { a: { type: "number" }, b: { const: 1 }, c: { enum: ["x", null] } } },
  list: { type: "array", items: { enum: ["red", "green", 3] }, minItems: 2, maxItems: 4 },
  map: { type: "object", additionalProperties: { type: "boolean" } },
  unlisted: { type: "object", properties: { a: {} }, required: ["zz"] },
  typed: { type: "string", enum: ["a", 5] },
  union: {
    anyOf: [
      { type: "string", maxLength: 3 },
      { type: "array", maxItems: 0 },
    ],
  },
  exclusive: { type: "integer", exclusiveMinimum: -3.5, exclusiveMaximum: 1005 },
  tree: {
    $ref: "#/$defs/node",
    $defs: {
      node: {
        type: "object",
        properties: { id: { type: "integer" }, next: { anyOf: [{ $ref: "#/$defs/node" }, {}] } },
        required: ["id"],
      },
    },
  },
};

describe("JSON schemas", () => {
  it.each(Object.entries(schemas))("what %s allows is valid", (_, schema) => {
    const validate = new Ajv({ strict: false }).compile(schema);
    const grammar = jsonSchemaGrammar(schema);
    let written = 0;
    for (let seed = 0; seed < 40; seed++) {
      const text = write(grammar, seed);
      if (text === undefined) continue;
      written++;
      expect(validate(JSON.parse(text)) || text).toBe(true);
    }
    expect(written).toBeGreaterThan(20);
  });

  it("counts characters, not bytes", () => {
    const grammar = jsonSchemaGrammar({ type: "string", minLength: 2, maxLength: 3 });
    const texts = ["ab", "äöü", "😀😀", "a\\n", "\\u00e4x"];
    expect(texts.filter((text) => !accepts(grammar, `"${text}"`))).toEqual([]);
    expect(["a", "abcd", "\\ud83d\\ude00"].filter((text) => accepts(grammar, `"${text}"`))).toEqual(
      [],
    );
  });

  it.each([
    [{ type: "string", pattern: "a" }, /"pattern" cannot be enforced/],
    [{ type: "object", properties: { x: { oneOf: [] } } }, /#\/properties\/x.*"oneOf"/],
    [{ anyOf: [{}], properties: {} }, /"properties" beside "anyOf"/],
    [{ type: "number", minimum: 0 }, /integers only/],
    [{ type: "colour" }, /no type "colour"/],
    [{ $ref: "#/$defs/none" }, /does not exist/],
    [{ $ref: "https://x.test/y" }, /into the schema itself/],
    [{ $ref: "#" }, /nothing but itself/],
    [{ $ref: "#/$defs/a", $defs: { a: { anyOf: [{ $ref: "#/$defs/a" }] } } }, /but itself/],
    [{ enum: [] }, /no value/],
    [{ minItems: 3, maxItems: 2 }, /above/],
    [{ type: "integer", minimum: 5, maximum: 4 }, /no integer/],
    [{ required: ["a"], additionalProperties: false }, /not allowed/],
    [false, /nothing is valid/],
    ["{}", /must be an object/],
  ])("refuses %j", (schema, message) => expect(() => jsonSchemaGrammar(schema)).toThrow(message));

  it("refuses a schema that is too deep", () => {
    let schema: object = {};
    for (let i = 0; i < 100; i++) schema = { items: schema };
    expect(() => jsonSchemaGrammar(schema)).toThrow(/deep/);
  });
});

it("JSON objects are what JSON.stringify writes", () => {
  const indents = [undefined, 2, "\t"];
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.nat(2), (value, i) => {
      // Numbers of very many digits, or with an exponent of three, are left out.
      fc.pre(!/\d{15}|e[+-]\d{3}/.test(JSON.stringify(value)));
      expect(accepts(jsonObjectGrammar, JSON.stringify(value, null, indents[i]))).toBe(true);
    }),
  );
  for (let seed = 0; seed < 50; seed++) {
    const text = write(jsonObjectGrammar, seed, 30);
    if (text !== undefined) expect(typeof JSON.parse(text)).toBe("object");
  }
});

it.each(["", "{", "{}x", "[1]", '{"a":01}', '{"a":1,}', "{a:1}", '{"a":"\n"}'])(
  "%j is no JSON object",
  (text) => expect(accepts(jsonObjectGrammar, text)).toBe(false),
);

it("integers lie between their bounds", () => {
  const bound = fc.integer({ min: -2500, max: 2500 });
  fc.assert(
    fc.property(bound, bound, (a, b) => {
      const [low, high] = [Math.min(a, b), Math.max(a, b)];
      const grammar = { alternatives: integersBetween(low, high) };
      const inside = fc.sample(fc.integer({ min: low, max: high }), 20);
      const outside = [low - 1, high + 1, low - 1000, high * 10 + 100_000];
      for (const n of [low, high, ...inside]) expect(accepts(grammar, `${n}`)).toBe(true);
      for (const n of outside) expect(accepts(grammar, `${n}`)).toBe(false);
      expect(accepts(grammar, "-0") || accepts(grammar, "007")).toBe(false);
    }),
    { numRuns: 60 },
  );
});
