import { TemplateFailure } from "./failure.ts";
import { type Filter, filter } from "./filter.ts";
import { integerOf } from "./methods.ts";
import { Float, isFloat, numeric, orElse, toFloat, typeName, type Value } from "./values.ts";

/** Filters that make numbers. */
export const numberFilters: readonly (readonly [string, Filter])[] = [
  ["abs", filter("", (value) => like(value, Math.abs(numberOf(value))))],
  [
    "int",
    filter("default base", (value, [other, base]) => toInt(value, base) ?? orElse(other, () => 0)),
  ],
  [
    "float",
    filter("default", (value, [other]) => {
      const number = typeof value === "string" ? parseFloatText(value) : numeric(value);
      return number === undefined ? orElse(other, () => new Float(0)) : toFloat(number);
    }),
  ],
  ["round", filter("precision method", (value, args) => round(value, args))],
];

function numberOf(value: Value): number {
  const number = numeric(value);
  if (number !== undefined) return number;
  throw new TemplateFailure(`a number is needed, not ${typeName(value)}`);
}

function like(model: Value, number: number): Value {
  return isFloat(model) ? toFloat(number) : number;
}

function toInt(value: Value, base: Value | undefined): number | undefined {
  if (typeof value !== "string") {
    const number = numeric(value);
    return number !== undefined && Number.isFinite(number) ? Math.trunc(number) : undefined;
  }
  const radix = integerOf(base, 10, "base");
  const digits = value.trim().replace(/(?<=[\da-zA-Z])_(?=[\da-zA-Z])/g, "");
  const prefix =
    radix === 16 ? "(?:0[xX])?" : radix === 8 ? "(?:0[oO])?" : radix === 2 ? "(?:0[bB])?" : "";
  const match = new RegExp(`^([-+]?)${prefix}([0-9a-zA-Z]+)$`).exec(digits);
  const last = radix <= 10 ? `[0-${radix - 1}]` : `[0-9a-${String.fromCharCode(86 + radix)}]`;
  if (match && new RegExp(`^${last}+$`, "i").test(match[2]!)) {
    return Number.parseInt(match[1]! + match[2]!, radix);
  }
  const number = parseFloatText(value);
  return number !== undefined && Number.isFinite(number) ? Math.trunc(number) : undefined;
}

function parseFloatText(value: string): number | undefined {
  const text = value.trim();
  if (/^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(text)) return Number(text);
  const named = /^([-+]?)(inf|infinity|nan)$/i.exec(text);
  if (!named) return undefined;
  if (named[2]!.toLowerCase() === "nan") return Number.NaN;
  return named[1] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
}

function round(value: Value, [digits, how = "common"]: (Value | undefined)[]): Value {
  const number = numberOf(value);
  const precision = integerOf(digits, 0, "precision");
  const scale = 10 ** precision;
  if (how === "ceil") return toFloat(Math.ceil(number * scale) / scale);
  if (how === "floor") return toFloat(Math.floor(number * scale) / scale);
  if (how !== "common") throw new TemplateFailure("method must be common, ceil or floor");
  if (!isFloat(value) && precision >= 0) return number;
  if (precision > 0) return toFloat(Number(number.toFixed(Math.min(precision, 100))));
  return toFloat(roundHalfEven(number * scale) / scale);
}

function roundHalfEven(number: number): number {
  const floor = Math.floor(number);
  const rest = number - floor;
  if (rest !== 0.5) return Math.round(number);
  return floor % 2 === 0 ? floor : floor + 1;
}
