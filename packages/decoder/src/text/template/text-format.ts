import type { Budget } from "./budget.ts";
import { TemplateFailure } from "./failure.ts";
import { formatNumber, pyRepr, pyStr } from "./python-text.ts";
import { pad } from "./text-functions.ts";
import { isDict, numeric, Tuple, typeName, type Value } from "./values.ts";

const DIRECTIVE = /%(?:\((\w+)\))?([-+ 0#]*)(\d+)?(?:\.(\d+))?([diufFeEgGxXosr%])/g;

/** Python's `"…" % value` for the usual directives. */
export function formatPercent(format: string, value: Value, budget: Budget): string {
  const items = value instanceof Tuple ? value.items : [value];
  let used = 0;
  const out = format.replace(
    DIRECTIVE,
    (_, key: string | undefined, flags: string, width = "0", precision, kind: string) => {
      if (kind === "%") return "%";
      const item = key === undefined ? items[used++] : isDict(value) ? value.get(key) : undefined;
      if (item === undefined) throw new TemplateFailure("not enough arguments for format string");
      const text = convert(
        item,
        kind,
        precision === undefined ? undefined : Number(precision),
        flags,
        budget,
      );
      if (flags.includes("-")) return pad(text, Number(width), "<", budget);
      const zero = flags.includes("0") && numeric(item) !== undefined;
      const sign = zero ? (/^[-+ ]?/.exec(text)?.[0] ?? "") : "";
      const body = text.slice(sign.length);
      return sign + pad(body, Number(width) - sign.length, ">", budget, zero ? "0" : " ");
    },
  );
  budget.spendText(out.length);
  if (used < items.length && !isDict(value)) {
    throw new TemplateFailure("not all arguments converted during string formatting");
  }
  return out;
}

function convert(
  item: Value,
  kind: string,
  precision: number | undefined,
  flags: string,
  budget: Budget,
): string {
  if (kind === "s" || kind === "r") {
    const text = kind === "s" ? pyStr(item, budget) : pyRepr(item, budget);
    return precision === undefined ? text : Array.from(text).slice(0, precision).join("");
  }
  const number = numeric(item);
  if (number === undefined) {
    throw new TemplateFailure(`%${kind} format: a number is required, not ${typeName(item)}`);
  }
  const text = formatDirective(number, kind, precision);
  return number >= 0 && flags.includes("+") ? `+${text}` : text;
}

function formatDirective(number: number, kind: string, precision = 6): string {
  if (kind === "x") return Math.trunc(number).toString(16);
  if (kind === "X") return Math.trunc(number).toString(16).toUpperCase();
  if (kind === "o") return Math.trunc(number).toString(8);
  if (precision > 100) throw new TemplateFailure("format precision is too large");
  if (kind === "f" || kind === "F") return number.toFixed(precision);
  if (kind === "e" || kind === "E") {
    const text = number.toExponential(precision).replace(/e([+-])(\d)$/, "e$10$2");
    return kind === "E" ? text.toUpperCase() : text;
  }
  if (kind === "g" || kind === "G") return formatNumber(Number(number.toPrecision(precision || 1)));
  return formatNumber(Math.trunc(number));
}

/** Python's str.format() with `{}`, `{0}` and `{name}`; format specifications are refused. */
export function formatBraces(
  format: string,
  positional: readonly Value[],
  named: ReadonlyMap<string, Value>,
  budget: Budget,
): string {
  let next = 0;
  const out = format.replace(/\{\{|\}\}|\{([^{}]*)\}|[{}]/g, (found, field?: string) => {
    if (found === "{{" || found === "}}") return found[0]!;
    const simple = field !== undefined && /^\w*$/.test(field);
    if (!simple) throw new TemplateFailure(`format field ${found} is not supported`);
    const item =
      field === ""
        ? positional[next++]
        : /^\d+$/.test(field)
          ? positional[Number(field)]
          : named.get(field);
    if (item === undefined) throw new TemplateFailure(`format field ${found} has no argument`);
    return pyStr(item, budget);
  });
  budget.spendText(out.length);
  return out;
}
