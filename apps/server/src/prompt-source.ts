import { readFileSync, statSync } from "node:fs";
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

/** Makes the prompt for a model, which decides whether a text becomes a chat. */
export type PromptSource = (model: DecoderModel) => GenerationRequest["prompt"];

/** Messages as JSON: inline, a file, or "-". */
export function messagesArgument(text: string): readonly ChatMessage[] {
  const value = jsonArgument(text, "--messages");
  const remedy = 'Write for example [{"role":"user","content":"Hi"}].';
  if (!Array.isArray(value) || value.length === 0)
    throw new KvCacheError("invalid-argument", "--messages must be an array of {role, content}.", {
      value,
      remedy,
    });
  value.forEach((message, i) => {
    const { role, content } = (message ?? {}) as Partial<ChatMessage>;
    if (typeof role !== "string" || (typeof content !== "string" && !Array.isArray(content)))
      throw new KvCacheError(
        "invalid-argument",
        `--messages: message ${i} must have a role and a content.`,
        { value: message, remedy },
      );
  });
  return value as ChatMessage[];
}

/**
 * Reads the prompt that a command line names: exactly one of text, --file, --messages and --tokens.
 */
export function promptSource(text: string | undefined, options: PromptOptions): PromptSource {
  const given = [text, options.file, options.messages, options.tokens].filter(
    (x) => x !== undefined,
  );
  if (given.length !== 1)
    throw new KvCacheError(
      "invalid-argument",
      `Give one prompt: text, --file, --messages or --tokens; got ${given.length}.`,
      { value: given.length, remedy: "See kvcache generate --help." },
    );
  if (options.tokens !== undefined) {
    const ids = tokenArgument(options.tokens);
    return () => ids;
  }
  if (options.messages !== undefined) {
    const messages = messagesArgument(options.messages);
    return () => ({ messages });
  }
  const content = text ?? textOf(options.file!);
  return ({ tokenizer }) =>
    !options.raw && (tokenizer?.chatTemplates.length ?? 0) > 0
      ? { messages: [{ role: "user", content }] }
      : content;
}

/** A file's text, or standard input's for "-". */
export function textOf(path: string): string {
  if (path === "-") return readFileSync(0, "utf8");
  const file = statSync(path, { throwIfNoEntry: false });
  if (!file?.isFile())
    throw new KvCacheError("not-found", `There is no file ${JSON.stringify(path)}.`, {
      value: path,
      ...(file && { remedy: "This is a directory: name a file." }),
    });
  return readFileSync(path, "utf8");
}
