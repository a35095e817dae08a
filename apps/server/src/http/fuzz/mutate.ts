import type { Random } from "./random.ts";

const nested = (depth: number) => {
  let value: unknown = 0;
  for (let i = 0; i < depth; i++) value = i % 2 ? [value] : { a: value };
  return value;
};

/** Values that programs trip over. */
const nasty: readonly (() => unknown)[] = [
  () => null,
  () => true,
  () => 0,
  () => -1,
  () => 0.5,
  () => 2 ** 31,
  () => 2 ** 53,
  () => -(2 ** 63),
  () => 1e308,
  () => 5e-324,
  () => "",
  () => "\0",
  () => "\ud800",
  () => "‮a\u0300\u200d",
  () => "x".repeat(20_000),
  () => "__proto__",
  () => "constructor",
  () => "../../etc/passwd",
  () => "snap-kv(window=",
  () => "ada-kv(a=b)(c)@9e99",
  () => "1e400TiB",
  () => [],
  () => [[]],
  () => [null],
  () => Array(5000).fill(0),
  () => Array(300).fill({}),
  () => ({}),
  () => JSON.parse('{"__proto__": {"a": 1}, "constructor": {"prototype": {}}}'),
  () => ({ toString: 1, length: -1 }),
  () => nested(60),
  () => nested(3000),
  () => ({ type: "object", properties: { a: { $ref: "#" } } }),
  () => ({ type: ["string", 7], enum: [] }),
  () => ({ $ref: "#/definitions/none" }),
];

/** The same value with something wrong at one place, or right by chance. */
export function mutate(value: unknown, random: Random): unknown {
  const here = random.chance(0.25);
  if (!here && Array.isArray(value) && value.length > 0) {
    const at = random.below(value.length);
    if (random.chance(0.15)) return value.toSpliced(at, 1);
    if (random.chance(0.15)) return [...value, value[at]];
    return value.with(at, mutate(value[at], random));
  }
  if (!here && typeof value === "object" && value !== null && !Array.isArray(value)) {
    const names = Object.keys(value);
    if (names.length > 0) {
      const name = random.pick(names);
      const { [name]: old, ...rest } = value as Record<string, unknown>;
      if (random.chance(0.15)) return rest;
      if (random.chance(0.1)) return { ...rest, [random.pick(["Model", "x", "stream", "n"])]: old };
      return { ...rest, [name]: mutate(old, random) };
    }
  }
  return random.pick(nasty)();
}

/** The text of a body with damage that no JSON value has. */
export function damage(text: string, random: Random): string | Uint8Array {
  const at = random.below(text.length + 1);
  switch (random.below(6)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return `${text.slice(0, at)}${random.pick(["}", "]", '"', ",", "\\", "NaN", "//"])}${text.slice(at)}`;
    case 2:
      return Buffer.concat([Buffer.from(text.slice(0, at)), Buffer.from([0xff, 0xc0, 0x80])]);
    case 3:
      return text.replace("{", '{"model":"tiny","model":null,"__proto__":{"n":2},');
    case 4:
      return `\ufeff${text}`;
    default:
      return "[".repeat(20_000);
  }
}
