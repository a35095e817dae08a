import { testPolicy } from "@kvcache/testing";
import { expect, it } from "vitest";
import { full } from "./index.ts";

testPolicy("full", () => full());

it("never asks to be run", () => {
  expect(full().trigger).toEqual({ prefill: false, pressure: false });
});
