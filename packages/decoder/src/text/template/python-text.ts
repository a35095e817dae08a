import type { Budget } from "./budget.ts";
import { TemplateFailure } from "./failure.ts";
import {
  Callable,
  Float,
  isDict,
  isFloat,
  isList,
  isTrue,
  numeric,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** Python's str(): what `{{ value }}` prints. */
export function pyStr(value: Value, budget: Budget): string {
  if (typeof value === "string") return value;
  return value instanceof Undefined ? "" : pyRepr(value, budget);
}

/** Python's repr(). */
export function pyRepr(value: Value, budget: Budget): string {
  budget.spend(8);
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number" || value instanceof Float) return formatNumber(value);
  if (typeof value === "string") {
    budget.spendText(value.length);
    return quote(value);
  }
  if (value instanceof Tuple) {
    const items = value.items.map((item) => pyRepr(item, budget)).join(", ");
    return value.items.length === 1 ? `(${items},)` : `(${items})`;
  }
  if (isDict(value)) {
    const entries = [...value].map(
      ([key, item]) => `${pyRepr(key, budget)}: ${pyRepr(item, budget)}`,
    );
    return `{${entries.join(", ")}}`;
  }
  if (isList(value)) return `[${value.map((item) => pyRepr(item, budget)).join(", ")}]`;
  if (value instanceof Undefined) return "Undefined";
  return value instanceof Callable ? "<function>" : "<object>";
}

/** Whole floats keep their point; exponents appear below 1e-4 and from 1e16 on. */
export function formatNumber(value: number | Float): string {
  const number = value instanceof Float ? value.value : value;
  if (!isFloat(value)) return BigInt(number).toString();
  if (Number.isNaN(number)) return "nan";
  if (!Number.isFinite(number)) return number > 0 ? "inf" : "-inf";
  const [mantissa, exponent] = number.toExponential().split("e") as [string, string];
  const power = Number(exponent);
  if (power >= -4 && power < 16) {
    if (!Number.isInteger(number)) return String(number);
    return `${Object.is(number, -0) ? "-0" : BigInt(number)}.0`;
  }
  const digits = String(Math.abs(power)).padStart(2, "0");
  return `${number === 0 ? "0.0" : mantissa}${power < 0 ? "e-" : "e+"}${digits}`;
}

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ["\\", "\\\\"],
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
]);

function quote(text: string): string {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replace(/[\\'"\p{C}\p{Z}]/gu, (char) => {
    if (char === " ") return char;
    if (char === "'" || char === '"') return char === mark ? `\\${char}` : char;
    const known = ESCAPES.get(char);
    if (known) return known;
    const code = char.codePointAt(0)!;
    if (code < 0x100) return `\\x${hex(code, 2)}`;
    return code < 0x10000 ? `\\u${hex(code, 4)}` : `\\U${hex(code, 8)}`;
  });
  return mark + escaped + mark;
}

function hex(code: number, width: number): string {
  return code.toString(16).padStart(width, "0");
}

export interface JsonOptions {
  readonly ensureAscii: boolean;
  /** What each level adds; undefined keeps everything on one line. */
  readonly indent: string | undefined;
  readonly itemSeparator: string;
  readonly keySeparator: string;
  readonly sortKeys: boolean;
}

/** Python's json.dumps(). */
export function pyJson(value: Value, options: JsonOptions, budget: Budget, newline = "\n"): string {
  budget.spend(8);
  if (value === null) return "null";
  if (typeof value === "string") {
    budget.spendText(value.length);
    return jsonString(value, options);
  }
  if (typeof value === "boolean") return String(value);
  if (typeof value === "number" || value instanceof Float) return jsonNumber(value);
  const inner = newline + (options.indent ?? "");
  const join = (items: string[], open: string, close: string): string => {
    if (items.length === 0) return open + close;
    if (options.indent === undefined) return open + items.join(options.itemSeparator) + close;
    return open + inner + items.join(options.itemSeparator + inner) + newline + close;
  };
  if (value instanceof Tuple || isList(value)) {
    const items = value instanceof Tuple ? value.items : value;
    return join(
      items.map((item) => pyJson(item, options, budget, inner)),
      "[",
      "]",
    );
  }
  if (isDict(value)) {
    const entries = [...value].map(([key, item]) => [jsonKey(key), item] as const);
    if (options.sortKeys) entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return join(
      entries.map(
        ([key, item]) =>
          jsonString(key, options) + options.keySeparator + pyJson(item, options, budget, inner),
      ),
      "{",
      "}",
    );
  }
  throw new TemplateFailure(`Object of type ${typeName(value)} is not JSON serializable`);
}

function jsonKey(key: Value): string {
  if (typeof key === "string") return key;
  if (key === null) return "null";
  if (typeof key === "boolean") return isTrue(key) ? "true" : "false";
  if (numeric(key) !== undefined) return jsonNumber(key as number | Float);
  throw new TemplateFailure(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
}

function jsonNumber(value: number | Float): string {
  const text = formatNumber(value);
  if (text === "nan") return "NaN";
  return text.replace("inf", "Infinity");
}

function jsonString(text: string, { ensureAscii }: JsonOptions): string {
  const json = JSON.stringify(text);
  if (!ensureAscii) return json;
  return json.replace(/[\u007f-\uffff]/g, (unit) => `\\u${hex(unit.charCodeAt(0), 4)}`);
}
