import { bind } from "./arguments.ts";
import type { Budget } from "./budget.ts";
import { equals } from "./comparison.ts";
import { TemplateFailure } from "./failure.ts";
import { formatBraces } from "./text-format.ts";
import * as text from "./text-functions.ts";
import {
  type CallArguments,
  Callable,
  type Dict,
  isDict,
  isList,
  iterate,
  numeric,
  orElse,
  Tuple,
  typeName,
  type Value,
} from "./values.ts";

interface Method<T> {
  readonly parameters: readonly string[];
  run(self: T, args: (Value | undefined)[], budget: Budget): Value;
}

type StringMethod = Method<string>;

const method = <T>(parameters: string, run: Method<T>["run"]): Method<T> => ({
  parameters: parameters === "" ? [] : parameters.split(" "),
  run,
});

const simple = (run: (self: string) => Value): StringMethod => method("", run);

export function stringOf(value: Value | undefined, what: string): string {
  if (typeof value === "string") return value;
  throw new TemplateFailure(`${what} must be str, not ${typeName(value ?? null)}`);
}

function optionalString(value: Value | undefined, what: string): string | null {
  return value === undefined || value === null ? null : stringOf(value, what);
}

export function integerOf(value: Value | undefined, fallback: number, what: string): number {
  if (value === undefined || value === null) return fallback;
  const number = numeric(value);
  if (number !== undefined && Number.isInteger(number)) return number;
  throw new TemplateFailure(`${what} must be an integer, not ${typeName(value)}`);
}

const stripper = (side: text.Side): StringMethod =>
  method("chars", (self, [chars]) => text.strip(self, side, optionalString(chars, "chars")));

const affix = (matches: (self: string, part: string) => boolean): StringMethod =>
  method("prefix", (self, [parts]) =>
    (parts instanceof Tuple ? parts.items : [parts]).some((part) =>
      matches(self, stringOf(part, "the argument")),
    ),
  );

const matcher = (pattern: RegExp): StringMethod => simple((self) => pattern.test(self));

const finder = (search: (self: string, part: string) => number, required: boolean): StringMethod =>
  method("sub", (self, [part]) => {
    const at = search(self, stringOf(part, "the argument"));
    if (at < 0 && required) throw new TemplateFailure("substring not found");
    return at < 0 ? -1 : text.length(self.slice(0, at));
  });

const partition = (search: (self: string, part: string) => number, last: boolean): StringMethod =>
  method("sep", (self, [separator]) => {
    const sep = stringOf(separator, "sep");
    const at = search(self, sep);
    if (at < 0) return new Tuple(last ? ["", "", self] : [self, "", ""]);
    return new Tuple([self.slice(0, at), sep, self.slice(at + sep.length)]);
  });

const padder = (align: "<" | ">" | "^"): StringMethod =>
  method("width fillchar", (self, [width, fill], budget) =>
    text.pad(
      self,
      integerOf(width, 0, "width"),
      align,
      budget,
      optionalString(fill, "fill") ?? " ",
    ),
  );

const STRING_METHODS: ReadonlyMap<string, StringMethod> = new Map<string, StringMethod>([
  ["upper", simple((self) => self.toUpperCase())],
  ["lower", simple((self) => self.toLowerCase())],
  ["casefold", simple((self) => self.toUpperCase().toLowerCase())],
  ["title", simple(text.title)],
  ["capitalize", simple(text.capitalize)],
  ["strip", stripper("both")],
  ["lstrip", stripper("left")],
  ["rstrip", stripper("right")],
  ["startswith", affix((self, part) => self.startsWith(part))],
  ["endswith", affix((self, part) => self.endsWith(part))],
  ["isdigit", matcher(/^[\p{Nd}²³¹⁰-⁹₀-₉]+$/u)],
  ["isnumeric", matcher(/^\p{N}+$/u)],
  ["isdecimal", matcher(/^\p{Nd}+$/u)],
  ["isalpha", matcher(/^\p{L}+$/u)],
  ["isalnum", matcher(/^[\p{L}\p{N}]+$/u)],
  ["isspace", simple((self) => self !== "" && text.strip(self, "both") === "")],
  ["isupper", simple((self) => self !== self.toLowerCase() && self === self.toUpperCase())],
  ["islower", simple((self) => self !== self.toUpperCase() && self === self.toLowerCase())],
  ["find", finder((self, part) => self.indexOf(part), false)],
  ["rfind", finder((self, part) => self.lastIndexOf(part), false)],
  ["index", finder((self, part) => self.indexOf(part), true)],
  ["rindex", finder((self, part) => self.lastIndexOf(part), true)],
  ["partition", partition((self, part) => self.indexOf(part), false)],
  ["rpartition", partition((self, part) => self.lastIndexOf(part), true)],
  ["ljust", padder("<")],
  ["rjust", padder(">")],
  ["center", padder("^")],
  ["splitlines", simple(text.splitLines)],
  [
    "count",
    method("sub", (self, [part]) => {
      const sub = stringOf(part, "the argument");
      return sub === "" ? text.length(self) + 1 : self.split(sub).length - 1;
    }),
  ],
  [
    "split",
    method("sep maxsplit", (self, [separator, limit]) =>
      text.split(self, optionalString(separator, "sep"), integerOf(limit, -1, "maxsplit")),
    ),
  ],
  [
    "rsplit",
    method("sep maxsplit", (self, [separator, limit]) =>
      text.splitFromRight(self, optionalString(separator, "sep"), integerOf(limit, -1, "maxsplit")),
    ),
  ],
  [
    "replace",
    method("old new count", (self, [from, to, count], budget) =>
      text.replace(
        self,
        stringOf(from, "old"),
        stringOf(to, "new"),
        integerOf(count, -1, "count"),
        budget,
      ),
    ),
  ],
  [
    "join",
    method("iterable", (self, [items], budget) => {
      const parts = iterate(items ?? null, budget).map((item) => stringOf(item, "sequence item"));
      const total = parts.reduce((sum, part) => sum + part.length + self.length, 0);
      budget.spendText(total);
      return parts.join(self);
    }),
  ],
  [
    "removeprefix",
    method("prefix", (self, [prefix]) => {
      const part = stringOf(prefix, "prefix");
      return self.startsWith(part) ? self.slice(part.length) : self;
    }),
  ],
  [
    "removesuffix",
    method("suffix", (self, [suffix]) => {
      const part = stringOf(suffix, "suffix");
      return self.endsWith(part) ? self.slice(0, self.length - part.length) : self;
    }),
  ],
  [
    "zfill",
    method("width", (self, [width], budget) => {
      const sign = /^[+-]/.test(self) ? self[0]! : "";
      const count = integerOf(width, 0, "width") - sign.length;
      return sign + text.pad(self.slice(sign.length), count, ">", budget, "0");
    }),
  ],
]);

const DICT_METHODS: ReadonlyMap<string, Method<Dict>> = new Map<string, Method<Dict>>([
  ["items", method<Dict>("", (self) => dictItems(self))],
  ["keys", method<Dict>("", (self) => [...self.keys()])],
  ["values", method<Dict>("", (self) => [...self.values()])],
  ["copy", method<Dict>("", (self) => new Map(self))],
  [
    "get",
    method<Dict>("key default", (self, [key, other]) =>
      orElse(self.get(key ?? null), () => other ?? null),
    ),
  ],
]);

const LIST_METHODS: ReadonlyMap<string, Method<readonly Value[]>> = new Map<
  string,
  Method<readonly Value[]>
>([
  ["copy", method<readonly Value[]>("", (self) => [...self])],
  [
    "count",
    method<readonly Value[]>(
      "value",
      (self, [value], budget) => self.filter((item) => equals(item, value ?? null, budget)).length,
    ),
  ],
  [
    "index",
    method<readonly Value[]>("value", (self, [value], budget) => {
      const at = self.findIndex((item) => equals(item, value ?? null, budget));
      if (at < 0) throw new TemplateFailure("the value is not in list");
      return at;
    }),
  ],
]);

/** Methods that change their object, which the sandbox of chat templates forbids. */
const MUTATING = new Set(
  "append clear pop reverse insert sort extend remove popitem setdefault update".split(" "),
);

export function dictItems(dict: Dict): Value[] {
  return [...dict].map(([key, value]) => new Tuple([key, value]));
}

/** The method `name` of `self`, bound to it; undefined when the type has none of that name. */
export function methodOf(self: Value, name: string, budget: Budget): Callable | undefined {
  if (typeof self === "string") {
    if (name === "format") {
      return new Callable((args: CallArguments) =>
        formatBraces(self, args.positional, args.named, budget),
      );
    }
    return bound(STRING_METHODS.get(name), name, self, budget);
  }
  const items = self instanceof Tuple ? self.items : isList(self) ? self : undefined;
  if ((items || isDict(self)) && MUTATING.has(name)) {
    return new Callable(() => {
      throw new TemplateFailure(`${name}() would change a ${typeName(self)}, which is not allowed`);
    });
  }
  if (isDict(self)) return bound(DICT_METHODS.get(name), name, self, budget);
  return items && bound(LIST_METHODS.get(name), name, items, budget);
}

function bound<T>(
  found: Method<T> | undefined,
  name: string,
  self: T,
  budget: Budget,
): Callable | undefined {
  if (!found) return undefined;
  return new Callable((args) => {
    budget.spend(1 + (typeof self === "string" ? self.length / 16 : 1));
    return found.run(self, bind(name, found.parameters, args), budget);
  });
}
