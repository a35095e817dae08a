import { expect, it } from "vitest";
import { jsonArgument, splitList, tokenArgument, tokenCount } from "./arguments.ts";

it("reads what a command line can hold", () => {
  expect(jsonArgument('[{"role":"user"}]', "--messages")).toEqual([{ role: "user" }]);
  expect([...tokenArgument("[1, 2,3]")]).toEqual([1, 2, 3]);
  expect(tokenCount("--length", "12")).toBe(12);
});

it.each([
  () => jsonArgument("no-such-file.json", "--messages"),
  () => jsonArgument("[1,", "--messages"),
  () => tokenArgument("1,x"),
  () => tokenArgument(""),
  () => tokenArgument("-1"),
  () => tokenCount("--length", "1.5"),
])("refuses the rest (%#)", (read) => expect(read).toThrow(/--|token id/));

it("splits lists of plans where a new one begins", () => {
  expect(splitList("a, b")).toEqual(["a", "b"]);
  expect(splitList("snap-kv:window=32,pooling.size=21,knorm")).toEqual([
    "snap-kv:window=32,pooling.size=21",
    "knorm",
  ]);
  expect(splitList("ada-kv(policy=key-diff,safeguard=.1),b(c=1)")).toEqual([
    "ada-kv(policy=key-diff,safeguard=.1)",
    "b(c=1)",
  ]);
  expect(() => splitList(" ,")).toThrow(/empty/);
});
