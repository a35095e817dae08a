import { KvCacheError } from "@kvcache/core";
import { type ChatMessage, type ChatTemplateOptions, createChatTemplate } from "./chat-template.ts";
import { createTokenizer, type Tokenizer } from "./tokenizer.ts";

/** What the files of a model folder hold, as text or parsed. */
export interface TokenizerFiles {
  /** tokenizer.json */
  readonly tokenizerJson: unknown;
  /** tokenizer_config.json */
  readonly tokenizerConfig?: unknown;
  /** special_tokens_map.json */
  readonly specialTokensMap?: unknown;
  /** chat_template.jinja, which wins over the templates of tokenizer_config.json */
  readonly chatTemplate?: string | undefined;
}

/** A tokenizer together with the chat templates of its model. */
export interface ChatTokenizer extends Tokenizer {
  /** Names of the templates: `default`, perhaps `tool_use`; none for a base model. */
  readonly chatTemplates: readonly string[];
  /** The special tokens that the model's files name: `bos_token`, `eos_token`, … */
  readonly specialTokens: { readonly [name: string]: string };
  /**
   * The prompt for a chat. Encode it with `addSpecialTokens: false`: the template writes them.
   * Throws `not-found` for a template that the model does not have, `invalid-model` for one with a
   * syntax error, `invalid-argument` when the template refuses the messages or runs too long.
   */
  applyChatTemplate(messages: readonly ChatMessage[], options?: ChatTemplateOptions): string;
}

type JsonObject = { readonly [key: string]: unknown };

/** Loads a tokenizer. tokenizer.json alone says how text is tokenized, whatever the config names. */
export function loadTokenizer(files: TokenizerFiles): ChatTokenizer {
  const tokenizer = createTokenizer(files.tokenizerJson);
  const config = readObject(files.tokenizerConfig, "tokenizer_config.json");
  const map = readObject(files.specialTokensMap, "special_tokens_map.json");
  const specialTokens = readSpecialTokens({ ...map, ...withoutNulls(config) });
  const templates = readTemplates(files.chatTemplate ?? config.chat_template);
  const chat = createChatTemplate(templates, specialTokens);
  return Object.freeze({
    ...tokenizer,
    chatTemplates: chat.names,
    specialTokens,
    applyChatTemplate: chat.apply,
  });
}

function readObject(value: unknown, file: string): JsonObject {
  if (value === undefined || value === null) return {};
  const parsed = typeof value === "string" ? parseJson(value, file) : value;
  if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) {
    return parsed as JsonObject;
  }
  throw new KvCacheError("invalid-model", `${file} must hold an object.`, { value: parsed });
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new KvCacheError("invalid-model", `${file} is not JSON.`, { cause });
  }
}

function withoutNulls(object: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null));
}

/** Every `…_token`, given as its text or as `{ content }`. */
function readSpecialTokens(config: JsonObject): { readonly [name: string]: string } {
  const tokens: [string, string][] = [];
  for (const [name, value] of Object.entries(config)) {
    if (!/^[a-z_]+_token$/.test(name)) continue;
    const content = typeof value === "object" ? (value as JsonObject).content : value;
    if (typeof content === "string") tokens.push([name, content]);
  }
  return Object.freeze(Object.fromEntries(tokens));
}

/** A template, or a list of `{ name, template }`. */
function readTemplates(value: unknown): ReadonlyMap<string, string> {
  if (value === undefined || value === null) return new Map();
  if (typeof value === "string") return new Map([["default", value]]);
  const entries = Array.isArray(value) ? value : undefined;
  const pairs = entries?.map((entry) => [entry?.name, entry?.template] as const);
  if (!pairs?.every(([name, text]) => typeof name === "string" && typeof text === "string")) {
    throw new KvCacheError(
      "invalid-model",
      "tokenizer_config.json: chat_template must be a template or a list of { name, template }.",
      { value, remedy: "Correct the file, or put the template into chat_template.jinja." },
    );
  }
  return new Map(pairs);
}
