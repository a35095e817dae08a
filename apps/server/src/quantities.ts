import { type BudgetTarget, checkTarget, KvCacheError } from "@kvcache/core";

const units: Record<string, number> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
};

/** "512MiB" → bytes. Throws `invalid-argument`. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(B|[KMG]B|[KMG]iB)$/.exec(text.trim());
  if (!match)
    throw new KvCacheError("invalid-argument", `"${text}" is not a size.`, {
      value: text,
      remedy: "Write a number and a unit, for example 512MiB.",
    });
  return Math.round(Number(match[1]) * units[match[2]!]!);
}

/** "0.25" → a ratio, "512" → tokens, "64MiB" → bytes. Throws `invalid-argument`. */
export function parseBudget(text: string): BudgetTarget {
  if (/[a-z]/i.test(text)) return checkTarget({ bytes: parseBytes(text) });
  const value = Number(text);
  if (text.trim() === "" || Number.isNaN(value))
    throw new KvCacheError("invalid-argument", `"${text}" is not a budget.`, {
      value: text,
      remedy: "Write a kept fraction (0.25), a number of tokens (512) or a size (64MiB).",
    });
  return checkTarget(Number.isInteger(value) && value > 1 ? { tokens: value } : { ratio: value });
}

/** 12345678 → "11.8 MiB". */
export function formatBytes(bytes: number): string {
  const unit = bytes >= 2 ** 30 ? "GiB" : bytes >= 2 ** 20 ? "MiB" : "KiB";
  return `${(bytes / units[unit]!).toFixed(1)} ${unit}`;
}

export const formatTarget = (target: BudgetTarget): string =>
  "ratio" in target
    ? `${+(target.ratio * 100).toFixed(2)} % kept`
    : "tokens" in target
      ? `${target.tokens} tokens`
      : formatBytes(target.bytes);

/** 3700 → "1 h 2 min". */
export function formatDuration(seconds: number): string {
  const minutes = Math.floor(seconds / 60);
  if (minutes >= 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return minutes > 0 ? `${minutes} min` : `${Math.ceil(seconds)} s`;
}
