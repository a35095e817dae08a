import type { Budget } from "./budget.ts";
import { compare, contains, equals } from "./comparison.ts";
import { TemplateFailure } from "./failure.ts";
import { pyStr } from "./python-text.ts";
import { formatPercent } from "./text-format.ts";
import { repeat } from "./text-functions.ts";
import {
  isFloat,
  isList,
  numeric,
  Tuple,
  toFloat,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** `left operator right`, except `and` and `or`, with Python's types and errors. */
export function binary(operator: string, left: Value, right: Value, budget: Budget): Value {
  switch (operator) {
    case "==":
      return equals(left, right, budget);
    case "!=":
      return !equals(left, right, budget);
    case "in":
      return contains(right, left, budget);
    case "not in":
      return !contains(right, left, budget);
    case "~":
      return concat(pyStr(left, budget), pyStr(right, budget), budget);
  }
  for (const side of [left, right]) {
    if (side instanceof Undefined) throw new TemplateFailure(`${side.what} is undefined`);
  }
  switch (operator) {
    case "<":
      return compare(left, right, budget, operator) < 0;
    case "<=":
      return compare(left, right, budget, operator) <= 0;
    case ">":
      return compare(left, right, budget, operator) > 0;
    case ">=":
      return compare(left, right, budget, operator) >= 0;
  }
  const [a, b] = [numeric(left), numeric(right)];
  if (a !== undefined && b !== undefined) {
    const result = arithmetic(operator, a, b);
    return operator === "/" || isFloat(left) || isFloat(right) || (operator === "**" && b < 0)
      ? toFloat(result)
      : wholeNumber(result);
  }
  return (
    ofSequences(operator, left, right, budget) ??
    fail(
      `unsupported operand type(s) for ${operator}: '${typeName(left)}' and '${typeName(right)}'`,
    )
  );
}

export function unary(operator: string, value: Value): Value {
  const number = numeric(value);
  if (number === undefined) fail(`bad operand type for unary ${operator}: '${typeName(value)}'`);
  const result = operator === "-" ? -number : number;
  return isFloat(value) ? toFloat(result) : result + 0;
}

function arithmetic(operator: string, a: number, b: number): number {
  if (b === 0 && (operator === "/" || operator === "//" || operator === "%")) {
    fail("division by zero");
  }
  switch (operator) {
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "/":
      return a / b;
    case "//":
      return Math.floor(a / b);
    case "%":
      return a - b * Math.floor(a / b);
    case "**":
      return a ** b;
    default:
      return fail(`unknown operator ${operator}`);
  }
}

/** Integers are exact up to 2^53 here; beyond that an answer could be wrong. */
function wholeNumber(result: number): number {
  if (Number.isSafeInteger(result)) return result;
  return fail("an integer became too large");
}

function ofSequences(
  operator: string,
  left: Value,
  right: Value,
  budget: Budget,
): Value | undefined {
  if (operator === "+") {
    if (typeof left === "string") {
      if (typeof right === "string") return concat(left, right, budget);
      return fail(`can only concatenate str (not "${typeName(right)}") to str`);
    }
    if (isList(left) && isList(right)) return joined(left, right, budget);
    if (left instanceof Tuple && right instanceof Tuple) {
      return new Tuple(joined(left.items, right.items, budget));
    }
  }
  if (operator === "%" && typeof left === "string") return formatPercent(left, right, budget);
  if (operator === "*") return times(left, right, budget) ?? times(right, left, budget);
  return undefined;
}

function concat(left: string, right: string, budget: Budget): string {
  // Joining strings copies neither, so that only the shorter one is paid for.
  budget.spendText(Math.min(left.length, right.length));
  budget.checkLength(left.length + right.length);
  return left + right;
}

function joined(left: readonly Value[], right: readonly Value[], budget: Budget): Value[] {
  budget.spend(left.length + right.length);
  return [...left, ...right];
}

function times(value: Value, count: Value, budget: Budget): Value | undefined {
  const n = numeric(count);
  if (n === undefined || !Number.isInteger(n)) return undefined;
  if (typeof value === "string") return repeat(value, n, budget);
  const items = value instanceof Tuple ? value.items : isList(value) ? value : undefined;
  if (!items) return undefined;
  budget.spend(items.length * Math.max(0, n));
  const out = Array.from({ length: Math.max(0, n) }, () => items).flat();
  return value instanceof Tuple ? new Tuple(out) : out;
}

function fail(message: string): never {
  throw new TemplateFailure(message);
}
