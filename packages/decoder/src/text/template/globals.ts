import { callable } from "./arguments.ts";
import type { Budget } from "./budget.ts";
import { TemplateFailure } from "./failure.ts";
import { integerOf } from "./methods.ts";
import { pyStr } from "./python-text.ts";
import { strftime } from "./strftime.ts";
import {
  type CallArguments,
  Callable,
  isDict,
  iterate,
  PlainObject,
  type Value,
} from "./values.ts";

/** The longest range() that the sandbox of chat templates allows. */
const MAX_RANGE = 100_000;

/** The functions that every template can call. `now` is what strftime_now() formats. */
export function createGlobals(budget: Budget, now: () => Date): Map<string, Value> {
  return new Map<string, Value>([
    ["range", callable("range", ["start", "stop", "step"], (...args) => range(args, budget))],
    ["namespace", new Callable((args) => namespace(entries(args, budget)))],
    ["dict", new Callable((args) => entries(args, budget))],
    ["cycler", new Callable(({ positional }) => cycler(positional))],
    ["joiner", callable("joiner", ["sep"], (separator = ", ") => joiner(separator))],
    [
      "raise_exception",
      callable("raise_exception", ["message"], (message = "") => {
        throw new TemplateFailure(pyStr(message, budget));
      }),
    ],
    [
      "strftime_now",
      callable("strftime_now", ["format"], (format = "") => strftime(pyStr(format, budget), now())),
    ],
  ]);
}

function range([first, second, third]: (Value | undefined)[], budget: Budget): Value[] {
  const start = second === undefined ? 0 : integerOf(first, 0, "start");
  const stop = integerOf(second ?? first, 0, "stop");
  const step = integerOf(third, 1, "step");
  if (step === 0) throw new TemplateFailure("range() arg 3 must not be zero");
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (length > MAX_RANGE) {
    throw new TemplateFailure(`Range too big. The sandbox blocks ranges larger than ${MAX_RANGE}.`);
  }
  budget.spend(length);
  return Array.from({ length }, (_, i) => start + i * step);
}

/** `dict(mapping, **named)`, also of pairs. */
function entries({ positional, named }: CallArguments, budget: Budget): Map<Value, Value> {
  const [source = new Map<Value, Value>()] = positional;
  const out = new Map<Value, Value>();
  if (isDict(source)) for (const [key, value] of source) out.set(key, value);
  else {
    for (const pair of iterate(source, budget)) {
      const [key, value, ...more] = iterate(pair, budget);
      if (key === undefined || value === undefined || more.length > 0) {
        throw new TemplateFailure("dict() needs pairs of a key and a value");
      }
      out.set(key, value);
    }
  }
  for (const [key, value] of named) out.set(key, value);
  return out;
}

function cycler(items: readonly Value[]): PlainObject {
  if (items.length === 0) throw new TemplateFailure("at least one item has to be provided");
  let at = 0;
  const next = callable("next", [], () => {
    const current = items[at]!;
    at = (at + 1) % items.length;
    return current;
  });
  const reset = callable("reset", [], () => {
    at = 0;
    return null;
  });
  return new PlainObject((name) => {
    if (name === "current") return items[at]!;
    return name === "next" ? next : name === "reset" ? reset : undefined;
  });
}

function namespace(attributes: Map<Value, Value>): PlainObject {
  return new PlainObject(
    (name) => attributes.get(name),
    (name, value) => attributes.set(name, value),
  );
}

function joiner(separator: Value): Callable {
  let used = false;
  return callable("joiner", [], () => {
    const out = used ? separator : "";
    used = true;
    return out;
  });
}
