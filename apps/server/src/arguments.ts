import { readFileSync, statSync } from "node:fs";
import { KvCacheError } from "@kvcache/core";

/** JSON given inline, as a path to a file, or as "-" for standard input. */
export function jsonArgument(text: string, what: string): unknown {
  const inline = /^\s*[[{]/.test(text);
  if (!inline && text !== "-" && !statSync(text, { throwIfNoEntry: false })?.isFile())
    throw new KvCacheError("not-found", `${what}: there is no file ${JSON.stringify(text)}.`, {
      value: text,
      remedy: "Give JSON, a file with JSON, or - for standard input.",
    });
  const source = inline ? text : readFileSync(text === "-" ? 0 : text, "utf8");
  try {
    return JSON.parse(source);
  } catch (cause) {
    throw new KvCacheError(
      "invalid-argument",
      `${what} is not JSON: ${(cause as Error).message}.`,
      { cause },
    );
  }
}

/** "1, 2,3" or "[1,2,3]" → token ids. */
export function tokenArgument(text: string): Int32Array {
  const ids = text
    .replace(/[[\]\s]/g, "")
    .split(",")
    .filter(Boolean)
    .map(Number);
  const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id > 0x7fffffff);
  if (ids.length === 0 || bad !== undefined)
    throw new KvCacheError("invalid-argument", `"${bad ?? text}" is not a token id.`, {
      value: text,
      remedy: "Write ids separated by commas, for example 1,15,7.",
    });
  return Int32Array.from(ids);
}

/** A whole number of tokens ≥ 1. */
export function tokenCount(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new KvCacheError("invalid-argument", `${option} must be an integer ≥ 1, got ${text}.`, {
      value: text,
    });
  return value;
}

/**
 * Items of a list, separated by commas outside parentheses; `name=value` goes on with the item
 * before it: "snap-kv:window=32,pooling.size=21,knorm" are two.
 */
export function splitList(text: string): string[] {
  const items: string[] = [];
  for (const part of text.split(/,(?![^()]*\))/).map((piece) => piece.trim())) {
    if (/^[\w.]+=/.test(part) && items.length > 0) items.push(`${items.pop()},${part}`);
    else if (part !== "") items.push(part);
  }
  if (items.length === 0)
    throw new KvCacheError("invalid-argument", "The list is empty.", {
      value: text,
      remedy: "Write its items with commas between them.",
    });
  return items;
}
