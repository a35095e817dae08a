import { isWhiteSpace, leadingSpace, trailingSpace } from "../white-space.ts";
import type { Budget } from "./budget.ts";
import { TemplateFailure } from "./failure.ts";

/** Number of characters (code points), which is what Python counts and indexes. */
export function length(text: string): number {
  let count = text.length;
  for (let i = 1; i < text.length; i++) if (text.codePointAt(i - 1)! > 0xffff) count--;
  return count;
}

/** Python's str.isspace() for one code unit: White_Space and four separators of ASCII. */
function isPythonSpace(unit: number): boolean {
  return isWhiteSpace(unit) || (unit >= 0x1c && unit <= 0x1f);
}

export type Side = "left" | "right" | "both";

/** Python's strip(), lstrip(), rstrip(); `chars` is a set of characters, null means white space. */
export function strip(text: string, side: Side, chars: string | null = null): string {
  const set = chars === null ? undefined : new Set(Array.from(chars, (c) => c.charCodeAt(0)));
  const cuts = set ? (unit: number) => set.has(unit) : isPythonSpace;
  const start = side === "right" ? 0 : leadingSpace(text, cuts);
  const end = side === "left" ? text.length : trailingSpace(text, cuts);
  return text.slice(start, Math.max(start, end));
}

/** Python's split(): at white space without a separator, at every occurrence with one. */
export function split(text: string, separator: string | null, limit: number): string[] {
  if (separator === "") throw new TemplateFailure("empty separator");
  const parts: string[] = [];
  let rest = separator === null ? strip(text, "left") : text;
  while (separator !== null || rest !== "") {
    if (limit >= 0 && parts.length === limit) break;
    const at = separator === null ? spaceIndex(rest) : rest.indexOf(separator);
    if (at < 0) break;
    parts.push(rest.slice(0, at));
    rest = separator === null ? strip(rest.slice(at), "left") : rest.slice(at + separator.length);
  }
  if (separator !== null || rest !== "") parts.push(rest);
  return parts;
}

export function splitFromRight(text: string, separator: string | null, limit: number): string[] {
  if (separator === "") throw new TemplateFailure("empty separator");
  if (limit < 0) return split(text, separator, -1);
  const parts: string[] = [];
  let rest = separator === null ? strip(text, "right") : text;
  while (parts.length < limit) {
    const at = separator === null ? lastSpaceIndex(rest) : rest.lastIndexOf(separator);
    if (at < 0) break;
    parts.push(rest.slice(at + (separator?.length ?? 1)));
    rest = separator === null ? strip(rest.slice(0, at), "right") : rest.slice(0, at);
  }
  if (separator === null) rest = strip(rest, "left");
  if (separator !== null || rest !== "") parts.push(rest);
  return parts.reverse();
}

function spaceIndex(text: string): number {
  for (let i = 0; i < text.length; i++) if (isPythonSpace(text.charCodeAt(i))) return i;
  return -1;
}

function lastSpaceIndex(text: string): number {
  for (let i = text.length - 1; i >= 0; i--) if (isPythonSpace(text.charCodeAt(i))) return i;
  return -1;
}

/** Python's splitlines(), without the line ends. */
export function splitLines(text: string): string[] {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: Python ends lines at these separators.
  const lines = text.split(/\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/);
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

/** Python's replace(); a negative `limit` replaces all. */
export function replace(
  text: string,
  from: string,
  to: string,
  limit: number,
  budget: Budget,
): string {
  budget.spend(from === "" ? text.length : text.length / 16);
  const pieces = from === "" ? ["", ...Array.from(text), ""] : text.split(from);
  const count = limit < 0 ? pieces.length - 1 : Math.min(limit, pieces.length - 1);
  budget.spendText(text.length + count * to.length);
  return (
    pieces.slice(0, count + 1).join(to) +
    pieces
      .slice(count + 1)
      .map((p) => from + p)
      .join("")
  );
}

/** The first character upper, the rest lower. */
export function capitalize(text: string): string {
  const [first = "", ...rest] = text;
  return first.toUpperCase() + rest.join("").toLowerCase();
}

/** Python's title(): every run of letters starts upper. */
export function title(text: string): string {
  return text.replace(/\p{L}+/gu, capitalize);
}

export function pad(
  text: string,
  width: number,
  align: "<" | ">" | "^",
  budget: Budget,
  fill = " ",
): string {
  const missing = Math.max(0, width - length(text));
  budget.spendText(text.length + missing);
  // Python puts the odd space of a centred text to the left when the width is odd.
  const left = align === "<" ? 0 : align === ">" ? missing : (missing >> 1) + (missing & width & 1);
  return fill.repeat(left) + text + fill.repeat(missing - left);
}

export function repeat(text: string, times: number, budget: Budget): string {
  const count = Math.max(0, times);
  budget.spendText(text.length * count);
  return text.repeat(count);
}
