import { existsSync, readFileSync } from "node:fs";
import { KvCacheError } from "@kvcache/core";

/** JSON given inline, as a path to a file, or as "-" for standard input. */
export function jsonArgument(text: string, what: string): unknown {
  const inline = /^\s*[[{]/.test(text);
  if (!inline && text !== "-" && !existsSync(text))
    throw new KvCacheError("not-found", `${what}: there is no file ${text}.`, { value: text });
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
