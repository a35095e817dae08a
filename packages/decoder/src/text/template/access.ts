import type { Budget } from "./budget.ts";
import { TemplateFailure } from "./failure.ts";
import { methodOf } from "./methods.ts";
import {
  isDict,
  isList,
  iterate,
  numeric,
  orElse,
  PlainObject,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** `value.name`: a method or attribute first, then an item; undefined when there is neither. */
export function getAttribute(value: Value, name: string, budget: Budget): Value {
  if (value instanceof Undefined) throw new TemplateFailure(`${value.what} is undefined`);
  if (value instanceof PlainObject) {
    return orElse(value.read(name), () => missing(value, name));
  }
  const method = methodOf(value, name, budget);
  if (method) return method;
  return orElse(isDict(value) ? value.get(name) : undefined, () => missing(value, name));
}

/** `value[key]`: an item first, then a method or attribute. */
export function getItem(value: Value, key: Value, budget: Budget): Value {
  if (value instanceof Undefined) throw new TemplateFailure(`${value.what} is undefined`);
  if (isDict(value) && value.has(key)) return value.get(key)!;
  const index = numeric(key);
  if (index !== undefined) return orElse(itemAt(value, index, budget), () => missing(value, key));
  if (typeof key !== "string") return missing(value, key);
  if (value instanceof PlainObject) return getAttribute(value, key, budget);
  return methodOf(value, key, budget) ?? missing(value, key);
}

/** `a.b.0`, as filters such as `map(attribute=…)` take it. */
export function getPath(value: Value, path: Value, budget: Budget): Value {
  if (typeof path !== "string") return getItem(value, path, budget);
  return path
    .split(".")
    .reduce<Value>(
      (at, part) => getItem(at, /^\d+$/.test(part) ? Number(part) : part, budget),
      value,
    );
}

function missing(value: Value, key: Value): Undefined {
  return new Undefined(`'${typeName(value)}' has no item ${keyName(key)}, which`);
}

/** Names that begin with an underscore are the sandbox's business: an error does not repeat them. */
function keyName(key: Value): string {
  if (typeof key === "string" && key.startsWith("_")) return "of that private name";
  return typeof key === "string" ? `'${key}'` : String(numeric(key) ?? typeName(key));
}

function itemAt(value: Value, index: number, budget: Budget): Value | undefined {
  const items = sequenceOf(value, budget);
  return Number.isInteger(index) ? items?.at(index) : undefined;
}

function sequenceOf(value: Value, budget: Budget): readonly Value[] | undefined {
  const isSequence = typeof value === "string" || value instanceof Tuple || isList(value);
  return isSequence ? iterate(value, budget) : undefined;
}

/** `value[start:stop:step]`; null leaves an end open. */
export function slice(
  value: Value,
  start: number | null,
  stop: number | null,
  step: number | null,
  budget: Budget,
): Value {
  const items = sequenceOf(value, budget);
  if (!items) {
    if (value instanceof Undefined) throw new TemplateFailure(`${value.what} is undefined`);
    throw new TemplateFailure(`'${typeName(value)}' object cannot be sliced`);
  }
  const by = step ?? 1;
  if (by === 0) throw new TemplateFailure("slice step cannot be zero");
  const [low, high] = by > 0 ? [0, items.length] : [-1, items.length - 1];
  const clamp = (index: number | null, open: number): number =>
    index === null ? open : Math.min(high, Math.max(low, index < 0 ? index + items.length : index));
  const from = clamp(start, by > 0 ? low : high);
  const to = clamp(stop, by > 0 ? high : low);
  const out: Value[] = [];
  for (let i = from; by > 0 ? i < to : i > to; i += by) out.push(items[i]!);
  budget.spend(1 + out.length);
  if (typeof value === "string") return out.join("");
  return value instanceof Tuple ? new Tuple(out) : out;
}
