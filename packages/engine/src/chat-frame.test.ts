import { readFileSync } from "node:fs";
import { loadTokenizer } from "@kvcache/decoder";
import { expect, it } from "vitest";
import { chatFrame } from "./chat-frame.ts";

const read = (name: string) =>
  readFileSync(new URL(`../../model-tiny/model/${name}`, import.meta.url), "utf8");
const shipped = loadTokenizer({
  tokenizerJson: read("tokenizer.json"),
  tokenizerConfig: read("tokenizer_config.json"),
});

it("is what the shipped model's template writes around a message", () => {
  const frame = chatFrame(shipped);
  expect(shipped.decode([...frame!.prefix])).toBe("<|bos|><|user|>");
  expect(shipped.decode([...frame!.suffix])).toBe("<|assistant|>");
});

it("is nothing without a template", () => {
  expect(chatFrame(undefined)).toBeUndefined();
  expect(chatFrame({ ...shipped, chatTemplates: [] })).toBeUndefined();
});
