import { KvCacheError } from "@kvcache/core";
import { describe, expect, it } from "vitest";
import { formatBytes, parseBudget, parseBytes } from "./quantities.ts";

describe("parseBudget", () => {
  it.each([
    ["0.25", { ratio: 0.25 }],
    ["1", { ratio: 1 }],
    ["512", { tokens: 512 }],
    ["1.5MiB", { bytes: 1572864 }],
  ])("%s", (text, target) => expect(parseBudget(text)).toEqual(target));

  it.each(["0", "1.5", "-3", "", "abc", "12parsecs", "NaN"])("refuses %j with a remedy", (text) =>
    expect(() => parseBudget(text)).toThrow(KvCacheError),
  );
});

it("sizes go both ways", () => {
  expect(parseBytes("512MiB")).toBe(2 ** 29);
  expect(formatBytes(2 ** 29)).toBe("512.0 MiB");
});
