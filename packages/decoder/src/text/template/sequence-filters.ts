import { getPath } from "./access.ts";
import { compare, equals } from "./comparison.ts";
import { TemplateFailure } from "./failure.ts";
import { type Filter, type FilterContext, filter } from "./filter.ts";
import { dictItems, integerOf, stringOf } from "./methods.ts";
import { pyStr } from "./python-text.ts";
import { findTest } from "./tests.ts";
import { length } from "./text-functions.ts";
import {
  isDict,
  isFloat,
  isTrue,
  iterate,
  numeric,
  orElse,
  Tuple,
  toFloat,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

const count = filter("", (value, _, { budget }) => {
  if (typeof value === "string") return length(value);
  if (isDict(value)) return value.size;
  if (numeric(value) !== undefined || value === null) {
    throw new TemplateFailure(`object of type '${typeName(value)}' has no len()`);
  }
  return iterate(value, budget).length;
});

/** What items are compared by: an attribute of theirs, in lower case unless case matters. */
function keyOf(
  attribute: Value | undefined,
  caseSensitive: Value | undefined,
  { budget }: FilterContext,
) {
  return (item: Value): Value => {
    const path = attribute ?? null;
    const value = path === null ? item : getPath(item, path, budget);
    return typeof value === "string" && !isTrue(caseSensitive ?? false)
      ? value.toLowerCase()
      : value;
  };
}

function sorted(
  value: Value,
  key: (item: Value) => Value,
  reverse: boolean,
  { budget }: FilterContext,
): Value[] {
  const keyed = iterate(value, budget).map((item) => [key(item), item] as const);
  // Equal keys are never compared, so that a list of None alone can be sorted, as in Jinja.
  const order = (a: Value, b: Value): number => (equals(a, b, budget) ? 0 : compare(a, b, budget));
  keyed.sort(([a], [b]) => (reverse ? order(b, a) : order(a, b)));
  return keyed.map(([, item]) => item);
}

function extreme(sign: 1 | -1): Filter {
  return filter("case_sensitive attribute", (value, [caseSensitive, attribute], context) => {
    const key = keyOf(attribute, caseSensitive, context);
    const [first, ...rest] = iterate(value, context.budget);
    if (first === undefined) return new Undefined("the extreme of an empty sequence");
    return rest.reduce(
      (best, item) => (sign * compare(key(item), key(best), context.budget) > 0 ? item : best),
      first,
    );
  });
}

/** select, reject, selectattr, rejectattr: keeps the items for which the test says `keep`. */
function selector(keep: boolean, byAttribute: boolean): Filter {
  return {
    run(value, _, { args, budget }) {
      const [attribute, ...rest] = byAttribute ? args.positional : [null, ...args.positional];
      const [name, argument = null] = rest;
      const test = name === undefined ? isTrue : findTest(stringOf(name, "the name of a test"));
      const items = iterate(value, budget);
      budget.spend(items.length);
      return items.filter((item) => {
        const subject = byAttribute ? getPath(item, attribute ?? null, budget) : item;
        return test(subject, argument, budget) === keep;
      });
    },
  };
}

const map: Filter = {
  run(value, _, { args, budget, apply }) {
    const items = iterate(value, budget);
    budget.spend(items.length);
    const attribute = args.named.get("attribute");
    if (attribute !== undefined) {
      const other = args.named.get("default");
      return items.map((item) => {
        const found = getPath(item, attribute, budget);
        return found instanceof Undefined && other !== undefined ? other : found;
      });
    }
    const [name, ...positional] = args.positional;
    if (name === undefined) throw new TemplateFailure("map requires a filter argument");
    return items.map((item) =>
      apply(stringOf(name, "the name of a filter"), item, { positional, named: args.named }),
    );
  },
};

/** Filters over lists, dicts and strings. */
export const sequenceFilters: readonly (readonly [string, Filter])[] = [
  ["length", count],
  ["count", count],
  ["map", map],
  ["select", selector(true, false)],
  ["reject", selector(false, false)],
  ["selectattr", selector(true, true)],
  ["rejectattr", selector(false, true)],
  ["max", extreme(1)],
  ["min", extreme(-1)],
  ["list", filter("", (value, _, { budget }) => copy(value, budget))],
  [
    "first",
    filter("", (value, _, { budget }) =>
      orElse(iterate(value, budget)[0], () => new Undefined("the first item of nothing")),
    ),
  ],
  [
    "last",
    filter("", (v, _, { budget }) =>
      orElse(iterate(v, budget).at(-1), () => new Undefined("the last item of nothing")),
    ),
  ],
  [
    "reverse",
    filter("", (value, _, { budget }) => {
      const reversed = copy(value, budget).reverse();
      return typeof value === "string" ? reversed.join("") : reversed;
    }),
  ],
  [
    "join",
    filter("d attribute", (value, [separator = "", attribute = null], { budget }) => {
      const parts = iterate(value, budget).map((item) =>
        pyStr(attribute === null ? item : getPath(item, attribute, budget), budget),
      );
      const glue = pyStr(separator, budget);
      budget.spendText(parts.reduce((sum, part) => sum + part.length + glue.length, 0));
      return parts.join(glue);
    }),
  ],
  [
    "sort",
    filter("reverse case_sensitive attribute", (value, [reverse, caseSensitive, attribute], ctx) =>
      sorted(value, keyOf(attribute, caseSensitive, ctx), isTrue(reverse ?? false), ctx),
    ),
  ],
  [
    "dictsort",
    filter("case_sensitive by reverse", (value, [caseSensitive, by = "key", reverse], context) => {
      if (!isDict(value))
        throw new TemplateFailure(`dictsort needs a dict, not ${typeName(value)}`);
      const at = by === "key" ? 0 : 1;
      const key = keyOf(at, caseSensitive, context);
      return sorted(dictItems(value), key, isTrue(reverse ?? false), context);
    }),
  ],
  [
    "unique",
    filter("case_sensitive attribute", (value, [caseSensitive, attribute], context) => {
      const key = keyOf(attribute, caseSensitive, context);
      const seen: Value[] = [];
      return iterate(value, context.budget).filter((item) => {
        const own = key(item);
        if (seen.some((other) => equals(own, other, context.budget))) return false;
        seen.push(own);
        return true;
      });
    }),
  ],
  [
    "groupby",
    filter("attribute default case_sensitive", (value, [attribute, , caseSensitive], context) => {
      const key = keyOf(attribute, caseSensitive, context);
      const groups: { key: Value; items: Value[] }[] = [];
      for (const item of sorted(value, key, false, context)) {
        const own = key(item);
        const last = groups.at(-1);
        if (last && equals(last.key, own, context.budget)) last.items.push(item);
        else groups.push({ key: own, items: [item] });
      }
      return groups.map(
        ({ items }) => new Tuple([getPath(items[0]!, attribute ?? null, context.budget), items]),
      );
    }),
  ],
  [
    "sum",
    filter("attribute start", (value, [attribute = null, start = 0], { budget }) => {
      const items = iterate(value, budget).map((item) =>
        attribute === null ? item : getPath(item, attribute, budget),
      );
      const total = [start, ...items].reduce<number>((sum, item) => {
        const number = numeric(item);
        if (number === undefined) throw new TemplateFailure(`cannot add a ${typeName(item)}`);
        return sum + number;
      }, 0);
      return [start, ...items].some(isFloat) ? toFloat(total) : total;
    }),
  ],
  [
    "batch",
    filter("linecount fill_with", (value, [size, fill = null], { budget }) => {
      const width = Math.max(1, integerOf(size, 1, "linecount"));
      budget.spend(fill === null ? 0 : width);
      const items = iterate(value, budget);
      const rows: Value[][] = [];
      for (let i = 0; i < items.length; i += width) rows.push([...items.slice(i, i + width)]);
      const last = rows.at(-1);
      if (last && fill !== null) while (last.length < width) last.push(fill);
      return rows;
    }),
  ],
];

function copy(value: Value, budget: FilterContext["budget"]): Value[] {
  const items = iterate(value, budget);
  budget.spend(items.length);
  return [...items];
}
