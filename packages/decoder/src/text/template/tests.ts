import { TemplateFailure } from "./failure.ts";
import { pyStr } from "./python-text.ts";
import {
  Callable,
  compare,
  equals,
  isDict,
  isFloat,
  isList,
  iterate,
  numeric,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

export type Test = (value: Value, argument: Value) => boolean;

const isSequence = (value: Value): boolean =>
  typeof value === "string" || isList(value) || value instanceof Tuple || isDict(value);

function integer(value: Value): number {
  const number = numeric(value);
  if (number !== undefined) return number;
  throw new TemplateFailure(`a number is needed, not ${typeName(value)}`);
}

/** Python's %: the remainder has the sign of the divisor. */
function remainder(a: number, b: number): number {
  if (b === 0) throw new TemplateFailure("modulo by zero");
  return a - b * Math.floor(a / b);
}

const TESTS: ReadonlyMap<string, Test> = new Map<string, Test>([
  ["defined", (value) => !(value instanceof Undefined)],
  ["undefined", (value) => value instanceof Undefined],
  ["none", (value) => value === null],
  ["boolean", (value) => typeof value === "boolean"],
  ["true", (value) => value === true],
  ["false", (value) => value === false],
  ["string", (value) => typeof value === "string"],
  ["number", (value) => numeric(value) !== undefined],
  ["integer", (value) => typeof value === "number" && Number.isInteger(value)],
  ["float", isFloat],
  ["mapping", isDict],
  ["sequence", (value) => isSequence(value) || value instanceof Undefined],
  ["iterable", (value) => isSequence(value) || value instanceof Undefined],
  ["callable", (value) => value instanceof Callable],
  ["lower", (value) => isCased(pyStr(value)) && pyStr(value) === pyStr(value).toLowerCase()],
  ["upper", (value) => isCased(pyStr(value)) && pyStr(value) === pyStr(value).toUpperCase()],
  ["odd", (value) => remainder(integer(value), 2) === 1],
  ["even", (value) => remainder(integer(value), 2) === 0],
  ["divisibleby", (value, by) => remainder(integer(value), integer(by)) === 0],
  ["sameas", (value, other) => value === other],
  ["in", (value, container) => contains(container, value)],
  ["escaped", () => false],
  ...[...["eq", "equalto", "=="].map((name): [string, Test] => [name, equals])],
  ...["ne", "!="].map((name): [string, Test] => [name, (a, b) => !equals(a, b)]),
  ...["lt", "lessthan", "<"].map((name): [string, Test] => [name, (a, b) => compare(a, b) < 0]),
  ...["gt", "greaterthan", ">"].map((name): [string, Test] => [
    name,
    (a, b) => compare(a, b, ">") > 0,
  ]),
  ...["le", "<="].map((name): [string, Test] => [name, (a, b) => compare(a, b, "<=") <= 0]),
  ...["ge", ">="].map((name): [string, Test] => [name, (a, b) => compare(a, b, ">=") >= 0]),
]);

function isCased(text: string): boolean {
  return text.toLowerCase() !== text.toUpperCase();
}

/** Python's `in`. */
export function contains(container: Value, item: Value): boolean {
  if (typeof container === "string") {
    if (typeof item === "string") return container.includes(item);
    throw new TemplateFailure(
      `'in <string>' requires string as left operand, not ${typeName(item)}`,
    );
  }
  if (isDict(container)) return container.has(item);
  return iterate(container).some((candidate) => equals(candidate, item));
}

/** The test of that name; `filter` and `test` themselves need the interpreter and are not here. */
export function findTest(name: string): Test {
  const test = TESTS.get(name);
  if (!test) throw new TemplateFailure(`No test named '${name}'`);
  return test;
}
