import { KvCacheError } from "@kvcache/core";
import { tokenizerOf } from "@kvcache/decoder";
import type { Command } from "commander";
import { openModel } from "../assemble.ts";
import { modelOption } from "../cli-options.ts";
import { fromCommandLine, guarded } from "../fail.ts";
import { messagesArgument, textOf } from "../prompt-source.ts";

interface Options {
  readonly model: string;
  readonly messages?: string;
  readonly file?: string;
  readonly json?: boolean;
}

async function tokenize(text: string | undefined, options: Options): Promise<void> {
  const { messages, content } = fromCommandLine(() => {
    if ([text, options.messages, options.file].filter((x) => x !== undefined).length !== 1)
      throw new KvCacheError("invalid-argument", "Give one of: text, --file, --messages.", {
        remedy: "See kvcache tokenize --help.",
      });
    return options.messages === undefined
      ? { content: text ?? textOf(options.file!) }
      : { messages: messagesArgument(options.messages) };
  });
  const tokenizer = tokenizerOf(await openModel(options.model));
  const prompt = content ?? tokenizer.applyChatTemplate(messages!, { addGenerationPrompt: true });
  // A template writes its special tokens itself.
  const ids = [...tokenizer.encode(prompt, { addSpecialTokens: content !== undefined })];
  if (options.json)
    process.stdout.write(`${JSON.stringify(messages ? { prompt, ids } : { ids })}\n`);
  else {
    if (messages) process.stdout.write(`${prompt}\n\n`);
    process.stdout.write(`${ids.join(" ")}\n`);
    process.stderr.write(`${ids.length} tokens\n`);
  }
}

export function registerTokenize(program: Command): void {
  program
    .command("tokenize")
    .description("show the token ids of a text or of chat messages")
    .argument("[text]")
    .addOption(modelOption())
    .option("--file <path>", 'read the text from a file ("-": standard input)')
    .option("--messages <json>", "chat messages: JSON, a file, or -")
    .option("--json", "machine-readable output")
    .action(guarded(tokenize));
}
