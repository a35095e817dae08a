import type { Budget } from "./budget.ts";
import { TemplateFailure } from "./failure.ts";
import {
  isDict,
  isList,
  iterate,
  numeric,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** Python's `==`: numbers by value, lists, tuples and dicts by content, never across types. */
export function equals(a: Value, b: Value, budget: Budget): boolean {
  if (typeof a === "string" && typeof b === "string") {
    budget.spend(a.length === b.length ? 1 + a.length / 16 : 1);
    return a === b;
  }
  budget.spend(1);
  if (a === b) return true;
  const [x, y] = [numeric(a), numeric(b)];
  if (x !== undefined || y !== undefined) return x === y;
  if (isList(a) && isList(b)) return sameItems(a, b, budget);
  if (a instanceof Tuple && b instanceof Tuple) return sameItems(a.items, b.items, budget);
  if (isDict(a) && isDict(b)) {
    const within = ([key, item]: [Value, Value]): boolean =>
      b.has(key) && equals(item, b.get(key)!, budget);
    return a.size === b.size && [...a].every(within);
  }
  return a instanceof Undefined && b instanceof Undefined;
}

function sameItems(a: readonly Value[], b: readonly Value[], budget: Budget): boolean {
  return a.length === b.length && a.every((item, i) => equals(item, b[i]!, budget));
}

/** Negative, zero or positive, for numbers, strings (by code point), lists and tuples. */
export function compare(a: Value, b: Value, budget: Budget, operator = "<"): number {
  const [x, y] = [numeric(a), numeric(b)];
  if (x !== undefined && y !== undefined) return x - y;
  if (typeof a === "string" && typeof b === "string") {
    budget.spend(1 + Math.min(a.length, b.length) / 16);
    return compareText(a, b);
  }
  const lists = isList(a) && isList(b);
  const tuples = a instanceof Tuple && b instanceof Tuple;
  if (!lists && !tuples) {
    throw new TemplateFailure(
      `'${operator}' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`,
    );
  }
  const [left, right] = [iterate(a, budget), iterate(b, budget)];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    if (!equals(left[i]!, right[i]!, budget)) return compare(left[i]!, right[i]!, budget, operator);
  }
  return left.length - right.length;
}

function compareText(a: string, b: string): number {
  let i = 0;
  while (i < a.length && i < b.length && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  // Inside a pair the difference lies in the low halves: step back to compare whole characters.
  if (i > 0 && a.codePointAt(i - 1)! > 0xffff) i--;
  return (a.codePointAt(i) ?? -1) - (b.codePointAt(i) ?? -1);
}

/** Python's `in`. */
export function contains(container: Value, item: Value, budget: Budget): boolean {
  if (typeof container === "string") {
    budget.spend(container.length / 16);
    if (typeof item === "string") return container.includes(item);
    throw new TemplateFailure(
      `'in <string>' requires string as left operand, not ${typeName(item)}`,
    );
  }
  if (isDict(container)) return container.has(item);
  return iterate(container, budget).some((candidate) => equals(candidate, item, budget));
}
