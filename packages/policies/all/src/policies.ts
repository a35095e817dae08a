// Written by scripts/new-package.mjs from the folders beside this one.
import { adaKV } from "@kvcache/policy-ada-kv";
import { full } from "@kvcache/policy-full";
import { kvCompress } from "@kvcache/policy-kv-compress";
import { snapKV } from "@kvcache/policy-snap-kv";
import { streamingLLM } from "@kvcache/policy-streaming-llm";

export * from "@kvcache/policy-ada-kv";
export * from "@kvcache/policy-full";
export * from "@kvcache/policy-kv-compress";
export * from "@kvcache/policy-snap-kv";
export * from "@kvcache/policy-streaming-llm";

/** Factories by name. */
export const policies = {
  "ada-kv": adaKV,
  full,
  "kv-compress": kvCompress,
  "snap-kv": snapKV,
  "streaming-llm": streamingLLM,
};
