import type { Budget } from "./budget.ts";
import { compare, contains, equals } from "./comparison.ts";
import { TemplateFailure } from "./failure.ts";
import { pyStr } from "./python-text.ts";
import {
  Callable,
  isDict,
  isFloat,
  isList,
  numeric,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

export type Test = (value: Value, argument: Value, budget: Budget) => boolean;

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
  ["lower", (value, _, budget) => isCased(value, budget, (text) => text.toLowerCase())],
  ["upper", (value, _, budget) => isCased(value, budget, (text) => text.toUpperCase())],
  ["odd", (value) => remainder(integer(value), 2) === 1],
  ["even", (value) => remainder(integer(value), 2) === 0],
  ["divisibleby", (value, by) => remainder(integer(value), integer(by)) === 0],
  ["sameas", (value, other) => value === other],
  ["in", (value, container, budget) => contains(container, value, budget)],
  ["escaped", () => false],
  ...["eq", "equalto", "=="].map((name): [string, Test] => [name, equals]),
  ...["ne", "!="].map((name): [string, Test] => [name, (a, b, budget) => !equals(a, b, budget)]),
  ...["lt", "lessthan", "<"].map((name) => ordering(name, "<", (order) => order < 0)),
  ...["gt", "greaterthan", ">"].map((name) => ordering(name, ">", (order) => order > 0)),
  ...["le", "<="].map((name) => ordering(name, "<=", (order) => order <= 0)),
  ...["ge", ">="].map((name) => ordering(name, ">=", (order) => order >= 0)),
]);

function ordering(
  name: string,
  operator: string,
  holds: (order: number) => boolean,
): [string, Test] {
  return [name, (a, b, budget) => holds(compare(a, b, budget, operator))];
}

/** Whether there are letters that have a case, and all of them have that one. */
function isCased(value: Value, budget: Budget, change: (text: string) => string): boolean {
  const text = pyStr(value, budget);
  return text.toLowerCase() !== text.toUpperCase() && text === change(text);
}

/** The test of that name; `filter` and `test` themselves need the interpreter and are not here. */
export function findTest(name: string): Test {
  const test = TESTS.get(name);
  if (!test) throw new TemplateFailure(`No test named '${name}'`);
  return test;
}
