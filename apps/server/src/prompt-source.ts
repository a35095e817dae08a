import { existsSync, readFileSync } from "node:fs";
import { KvCacheError } from "@kvcache/core";
import type { ChatMessage, DecoderModel } from "@kvcache/decoder";
import type { GenerationRequest } from "@kvcache/engine";
import { jsonArgument, tokenArgument } from "./arguments.ts";

export interface PromptOptions {
  readonly file?: string;
  readonly messages?: string;
  readonly tokens?: string;
  readonly raw?: boolean;
}

/** Messages as JSON: inline, a file, or "-". */
export function messagesArgument(text: string): readonly ChatMessage[] {
  const value = jsonArgument(text, "--messages");
  if (!Array.isArray(value))
    throw new KvCacheError("invalid-argument", "--messages must be an array of {role, content}.", {
      value,
      remedy: 'Write for example [{"role":"user","content":"Hi"}].',
    });
  return value as ChatMessage[];
}

/** The prompt that a command line names: exactly one of text, --file, --messages and --tokens. */
export function promptOf(
  text: string | undefined,
  options: PromptOptions,
  model: DecoderModel,
): GenerationRequest["prompt"] {
  const given = [text, options.file, options.messages, options.tokens].filter(
    (x) => x !== undefined,
  );
  if (given.length !== 1)
    throw new KvCacheError(
      "invalid-argument",
      `Give one prompt: text, --file, --messages or --tokens; got ${given.length}.`,
      { value: given.length, remedy: "See kvcache generate --help." },
    );
  if (options.tokens !== undefined) return tokenArgument(options.tokens);
  if (options.messages !== undefined) return { messages: messagesArgument(options.messages) };
  if (options.file !== undefined && options.file !== "-" && !existsSync(options.file))
    throw new KvCacheError("not-found", `There is no file ${options.file}.`, {
      value: options.file,
    });
  const content = text ?? readFileSync(options.file === "-" ? 0 : options.file!, "utf8");
  const chat = !options.raw && (model.tokenizer?.chatTemplates.length ?? 0) > 0;
  return chat ? { messages: [{ role: "user", content }] } : content;
}
