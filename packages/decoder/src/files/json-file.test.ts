import { describe, expect, it } from "vitest";
import { encode } from "../__fixtures__/tiny-model.ts";
import { parseJsonObject } from "./json-file.ts";

const parse = (text: string, uniqueKeys = false) =>
  parseJsonObject(encode(text), "some.json", { uniqueKeys });

describe("parseJsonObject", () => {
  it("parses, with or without a byte order mark", () => {
    expect(parse('{"a": [1, {"b": "}{\\"],"}]}', true)).toEqual({ a: [1, { b: '}{"],' }] });
    expect(parse('\ufeff{"a": 1}')).toEqual({ a: 1 });
  });

  it.each([
    ["text", "hidden_size: 16"],
    ["a cut", '{"a": {'],
    ["a cut string", '{"a": "x\\'],
    ["an array", "[{}]"],
    ["null", "null"],
    ["nothing", ""],
    ["100000 nested arrays", "[".repeat(100_000) + "]".repeat(100_000)],
    ["deep objects", `${'{"a":'.repeat(65)}1${"}".repeat(65)}`],
  ])("refuses %s, naming the file", (_, text) => {
    expect(() => parse(text)).toThrow(
      expect.objectContaining({
        code: "invalid-model",
        message: expect.stringContaining("some.json"),
      }),
    );
  });

  it("refuses bytes that are not UTF-8", () => {
    expect(() => parseJsonObject(Uint8Array.of(0x7b, 0xff, 0x7d), "some.json")).toThrow(
      "some.json",
    );
  });

  it("finds repeated keys of the same object only, also when they are written differently", () => {
    expect(parse('{"a": {"a": 1}, "b": [{"a": 1}, {"a": "a"}]}', true)).toBeDefined();
    expect(parse('{"a": 1, "a": 2}')).toEqual({ a: 2 });
    expect(() => parse('{"a": 1, "b": 2, "a": 2}', true)).toThrow('"a" twice');
    expect(() => parse('{"x": {"a": [], "\\u0061": 2}}', true)).toThrow('"a" twice');
  });
});
