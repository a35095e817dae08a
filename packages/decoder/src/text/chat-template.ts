import { KvCacheError } from "@kvcache/core";
import type { Block } from "./template/ast.ts";
import { createBudget } from "./template/budget.ts";
import { TemplateFailure } from "./template/failure.ts";
import { createGlobals } from "./template/globals.ts";
import { render } from "./template/interpreter.ts";
import { parseTemplate } from "./template/parser.ts";
import { strip } from "./template/text-functions.ts";
import { toValue } from "./template/values.ts";

/** `{ role, content, … }`; what else a message may hold is up to the template. */
export type ChatMessage = { readonly role: string; readonly [key: string]: unknown };

export interface ChatTemplateOptions {
  /** End with the beginning of an assistant message. Default false. */
  readonly addGenerationPrompt?: boolean;
  /** End right behind the text of the last message, so that the model goes on with it. */
  readonly continueFinalMessage?: boolean;
  /** JSON schemas of the functions that the model may call. */
  readonly tools?: readonly unknown[];
  readonly documents?: readonly unknown[];
  /** Which template, where the model has several. Default `tool_use` with tools, else `default`. */
  readonly template?: string;
  /** Further variables of the template, such as `enable_thinking`. */
  readonly variables?: { readonly [name: string]: unknown };
  /** What `strftime_now` formats. Default: the present. */
  readonly now?: Date;
}

/** Renders messages to the prompt that a model was trained on. */
export interface ChatTemplate {
  readonly names: readonly string[];
  apply(messages: readonly ChatMessage[], options?: ChatTemplateOptions): string;
}

/** Put behind the last message to find its end in the prompt; the space shows whether it is cut. */
const END_MARK = "CONTINUE_FINAL_MESSAGE_TAG ";

/**
 * The templates of a model by name; a model with one template has `default`.
 * `specialTokens` are variables of every template (`bos_token`, …).
 */
export function createChatTemplate(
  templates: ReadonlyMap<string, string>,
  specialTokens: { readonly [name: string]: unknown },
): ChatTemplate {
  const parsed = new Map<string, Block>();

  function parsedTemplate(name: string): Block {
    const known = parsed.get(name);
    if (known) return known;
    const program = parse(sourceOf(templates, name));
    parsed.set(name, program);
    return program;
  }

  function apply(messages: readonly ChatMessage[], options: ChatTemplateOptions = {}): string {
    const { addGenerationPrompt = false, continueFinalMessage = false } = options;
    if (!Array.isArray(messages) || messages.some((m) => typeof m !== "object" || m === null)) {
      throw new KvCacheError("invalid-argument", "messages must be an array of objects.", {
        value: messages,
      });
    }
    if (addGenerationPrompt && continueFinalMessage) {
      throw new KvCacheError(
        "invalid-argument",
        "addGenerationPrompt and continueFinalMessage exclude each other.",
        { remedy: "Start a new message or continue the last one." },
      );
    }
    const program = parsedTemplate(options.template ?? defaultName(templates, options.tools));
    const variables = {
      ...specialTokens,
      ...options.variables,
      messages: continueFinalMessage ? withEndMark(messages) : messages,
      tools: options.tools,
      documents: options.documents,
      add_generation_prompt: addGenerationPrompt,
    };
    const prompt = run(program, variables, options.now);
    return continueFinalMessage ? cutAtEndMark(prompt) : prompt;
  }

  return Object.freeze({ names: [...templates.keys()], apply });
}

function sourceOf(templates: ReadonlyMap<string, string>, name: string): string {
  const source = templates.get(name);
  if (source !== undefined) return source;
  throw new KvCacheError("not-found", `The model has no chat_template named "${name}".`, {
    value: name,
    remedy:
      templates.size > 0
        ? `Use one of: ${[...templates.keys()].join(", ")}.`
        : "Send plain text instead of messages, or add a chat_template.jinja to its folder.",
  });
}

function defaultName(
  templates: ReadonlyMap<string, string>,
  tools: readonly unknown[] | undefined,
): string {
  return tools !== undefined && templates.has("tool_use") ? "tool_use" : "default";
}

function parse(source: string): Block {
  try {
    return parseTemplate(source);
  } catch (cause) {
    throw new KvCacheError("invalid-model", `chat_template cannot be parsed: ${reasonOf(cause)}.`, {
      cause,
      remedy: "Use the chat template that was published with the model.",
    });
  }
}

function run(program: Block, variables: object, now: Date | undefined): string {
  const budget = createBudget();
  try {
    const values = createGlobals(budget, () => now ?? new Date());
    for (const [name, data] of Object.entries(variables)) values.set(name, toValue(data));
    return render(program, values, budget);
  } catch (cause) {
    const reason = reasonOf(cause);
    const stop = /[.!?]$/.test(reason) ? "" : ".";
    throw new KvCacheError("invalid-argument", `chat_template: ${reason}${stop}`, {
      cause,
      remedy: "Check the messages and options against the model's chat template.",
    });
  }
}

/** What to tell about an error that a template caused; rethrows any other. */
function reasonOf(cause: unknown): string {
  if (cause instanceof TemplateFailure) return cause.message;
  // The stack ran out.
  if (cause instanceof RangeError) return "something is nested too deeply";
  throw cause;
}

/** Marks the text of the last message, the last text part where it has several. */
function withEndMark(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  const last = messages.at(-1);
  const content = last?.content;
  if (typeof content === "string") {
    return [...messages.slice(0, -1), { ...last!, content: content + END_MARK }];
  }
  if (Array.isArray(content)) {
    const index = content.findLastIndex((part) => typeof part?.text === "string");
    if (index >= 0) {
      const marked = content.with(index, {
        ...content[index],
        text: content[index].text + END_MARK,
      });
      return [...messages.slice(0, -1), { ...last!, content: marked }];
    }
  }
  throw new KvCacheError("invalid-argument", "The final message has no text to continue.", {
    value: last,
  });
}

function cutAtEndMark(prompt: string): string {
  const at = prompt.lastIndexOf(END_MARK.trimEnd());
  if (at < 0) {
    throw new KvCacheError("invalid-argument", "The chat_template drops the final message.", {
      remedy: "Continue a message that the template writes out.",
    });
  }
  const text = prompt.slice(0, at);
  return prompt.startsWith(END_MARK, at) ? text : strip(text, "right");
}
