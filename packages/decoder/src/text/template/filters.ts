import { getAttribute } from "./access.ts";
import { bind } from "./arguments.ts";
import type { Budget } from "./budget.ts";
import { TemplateFailure } from "./failure.ts";
import { type Filter, filter } from "./filter.ts";
import { dictItems, integerOf, methodOf } from "./methods.ts";
import { numberFilters } from "./number-filters.ts";
import { pyJson, pyStr } from "./python-text.ts";
import { sequenceFilters } from "./sequence-filters.ts";
import { formatPercent } from "./text-format.ts";
import * as text from "./text-functions.ts";
import {
  type CallArguments,
  isDict,
  isTrue,
  iterate,
  orElse,
  Tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** A filter that takes its value as text. */
const textFilter = (
  parameters: string,
  run: (value: string, args: (Value | undefined)[], budget: Budget) => Value,
): Filter =>
  filter(parameters, (value, args, { budget }) => run(pyStr(value, budget), args, budget));

const ofText = (run: (value: string) => Value): Filter => textFilter("", run);

const HTML: ReadonlyMap<string, string> = new Map([
  ["&", "&amp;"],
  ["<", "&lt;"],
  [">", "&gt;"],
  ["'", "&#39;"],
  ['"', "&#34;"],
]);

const escapeHtml = ofText((value) => value.replace(/[&<>'"]/g, (char) => HTML.get(char)!));

const fallBack = filter("default_value boolean", (value, [other, boolean]) =>
  value instanceof Undefined || (isTrue(boolean ?? false) && !isTrue(value))
    ? orElse(other, () => "")
    : value,
);

/** Upper case at word beginnings, lower case elsewhere; words end at white space, - ( { [ <. */
function titleWords(value: string): string {
  return value
    .split(/([-\s({[<]+)/)
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1).toLowerCase())
    .join("");
}

function indent(value: string, args: (Value | undefined)[], budget: Budget): string {
  const [width = 4, first = false, blank = false] = args;
  const margin =
    typeof width === "string" ? width : text.repeat(" ", integerOf(width, 4, "width"), budget);
  const [head = "", ...lines] = text.splitLines(`${value}\n`);
  budget.spendText(value.length + (lines.length + 1) * margin.length);
  const rest = lines.map((line) => `\n${line !== "" || isTrue(blank) ? margin : ""}${line}`);
  return (isTrue(first) ? margin : "") + head + rest.join("");
}

function truncate(value: string, args: (Value | undefined)[], budget: Budget): string {
  const limit = integerOf(args[0], 255, "length");
  const end = pyStr(args[2] ?? "...", budget);
  const chars = Array.from(value);
  if (chars.length <= limit + integerOf(args[3], 5, "leeway")) return value;
  const cut = chars.slice(0, Math.max(0, limit - text.length(end))).join("");
  if (isTrue(args[1] ?? false)) return cut + end;
  const space = cut.lastIndexOf(" ");
  return (space < 0 ? cut : cut.slice(0, space)) + end;
}

function toJson(value: Value, args: (Value | undefined)[], budget: Budget): string {
  const [ensureAscii = false, indentation = null, separators = null, sortKeys = false] = args;
  const margin =
    indentation === null
      ? undefined
      : typeof indentation === "string"
        ? indentation
        : text.repeat(" ", integerOf(indentation, 0, "indent"), budget);
  const given =
    separators === null
      ? undefined
      : iterate(separators, budget).map((part) => pyStr(part, budget));
  const json = pyJson(
    value,
    {
      ensureAscii: isTrue(ensureAscii),
      indent: margin,
      itemSeparator: given?.[0] ?? (margin === undefined ? ", " : ","),
      keySeparator: given?.[1] ?? ": ",
      sortKeys: isTrue(sortKeys),
    },
    budget,
  );
  budget.spendText(json.length);
  return json;
}

const FILTERS: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ["upper", ofText((value) => value.toUpperCase())],
  ["lower", ofText((value) => value.toLowerCase())],
  ["title", ofText(titleWords)],
  ["capitalize", ofText(text.capitalize)],
  ["string", ofText((value) => value)],
  ["safe", filter("", (value) => value)],
  ["escape", escapeHtml],
  ["e", escapeHtml],
  ["forceescape", escapeHtml],
  ["wordcount", ofText((value) => (value.match(/[\p{L}\p{N}_]+/gu) ?? []).length)],
  [
    "trim",
    textFilter("chars", (value, [chars = null], budget) =>
      text.strip(value, "both", chars === null ? null : pyStr(chars, budget)),
    ),
  ],
  [
    "replace",
    textFilter("old new count", (value, [from = null, to = null, count], budget) => {
      const limit = integerOf(count, -1, "count");
      return text.replace(value, pyStr(from, budget), pyStr(to, budget), limit, budget);
    }),
  ],
  [
    "center",
    textFilter("width", (value, [width], budget) =>
      text.pad(value, integerOf(width, 80, "width"), "^", budget),
    ),
  ],
  ["indent", textFilter("width first blank", indent)],
  ["truncate", textFilter("length killwords end leeway", truncate)],
  [
    "format",
    {
      run: (value, _, { args, budget }) =>
        formatPercent(
          pyStr(value, budget),
          args.named.size > 0 ? new Map(args.named) : new Tuple(args.positional),
          budget,
        ),
    },
  ],
  ["default", fallBack],
  ["d", fallBack],
  [
    "tojson",
    filter("ensure_ascii indent separators sort_keys", (v, args, { budget }) =>
      toJson(v, args, budget),
    ),
  ],
  [
    "items",
    filter("", (value) => {
      if (value instanceof Undefined) return [];
      if (isDict(value)) return dictItems(value);
      throw new TemplateFailure(`Can only get item pairs from a mapping, not ${typeName(value)}`);
    }),
  ],
  [
    "attr",
    filter("name", (value, [name], { budget }) => {
      const key = pyStr(name ?? null, budget);
      if (isDict(value)) return methodOf(value, key, budget) ?? new Undefined(`'${key}'`);
      return getAttribute(value, key, budget);
    }),
  ],
  ...numberFilters,
  ...sequenceFilters,
]);

/** Applies the filter of that name. */
export function applyFilter(
  name: string,
  value: Value,
  args: CallArguments,
  budget: Budget,
): Value {
  const found = FILTERS.get(name);
  if (!found) throw new TemplateFailure(`No filter named '${name}'`);
  budget.spend(1 + (typeof value === "string" ? value.length / 16 : 1));
  const bound = found.parameters ? bind(name, found.parameters, args) : [];
  return found.run(value, bound, {
    budget,
    args,
    apply: (other, item, rest) => applyFilter(other, item, rest, budget),
  });
}
