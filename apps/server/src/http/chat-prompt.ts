import type { PrefixPin } from "@kvcache/core";
import type { ChatMessage, ChatTemplateOptions } from "@kvcache/decoder";
import { invalidField } from "./api-error.ts";
import { defined, pinOf } from "./generation-request.ts";
import type { ChatRequest, ChatRequestMessage } from "./schemas/chat.ts";
import type { CacheControl } from "./schemas/fields.ts";
import type { ServedModel } from "./served-model.ts";
import type { ToolUse } from "./tools/tool-use.ts";

/** A chat as token ids, and where its cache is to be compressed. */
export interface ChatPromptIds {
  readonly ids: Int32Array;
  readonly compressAfter: number | undefined;
  /** The prefix up to the last message with a cache_control. */
  readonly pin: PrefixPin | undefined;
}

/** Renders a chat by the model's template. Throws a 400 for what the template refuses. */
export function chatPrompt(
  body: Pick<
    ChatRequest,
    | "messages"
    | "add_generation_prompt"
    | "continue_final_message"
    | "chat_template_kwargs"
    | "documents"
    | "kv"
  >,
  { tokenizer }: ServedModel,
  toolUse?: ToolUse,
): ChatPromptIds {
  const messages = body.messages.map(templateMessage);
  const options: ChatTemplateOptions = defined({
    tools: toolUse?.tools,
    documents: body.documents,
    variables: body.chat_template_kwargs,
  });
  const encode = (text: string) => tokenizer.encode(text, { addSpecialTokens: false });
  const goesOn = body.continue_final_message === true;
  const text = tokenizer.applyChatTemplate(messages, {
    ...options,
    continueFinalMessage: goesOn,
    addGenerationPrompt: !goesOn && body.add_generation_prompt !== false,
  });
  const ids = encode(text + (toolUse?.forced?.begin ?? ""));
  /** Tokens of the prompt up to the end of a message. */
  const tokensThrough = (message: number): number => {
    const part = messages.slice(0, message + 1);
    const before = encode(tokenizer.applyChatTemplate(part, options));
    let common = 0;
    while (common < before.length && before[common] === ids[common]) common++;
    return common;
  };
  const marked = body.messages.findLastIndex((message) => cacheControlOf(message));
  const tokens = marked < 0 ? 0 : tokensThrough(marked);
  const pin = tokens > 0 ? pinOf(cacheControlOf(body.messages[marked]!)!, tokens) : undefined;
  const last = body.kv?.compressAfter;
  if (last === undefined || last === null) return { ids, compressAfter: undefined, pin };
  if (last >= messages.length)
    throw invalidField("kv.compressAfter", `There are ${messages.length} messages, from 0 on.`);
  const compressAfter = tokensThrough(last);
  if (compressAfter === 0)
    throw invalidField("kv.compressAfter", "The template does not write messages one by one.");
  return { ids, compressAfter, pin };
}

/** Of a message or the last part of its content that has one. */
function cacheControlOf({ cache_control, content }: ChatRequestMessage): CacheControl | undefined {
  if (cache_control) return cache_control;
  const parts = Array.isArray(content) ? content : [];
  return parts.findLast((part) => part.cache_control)?.cache_control ?? undefined;
}

/** A message as templates expect it: text as one string, arguments of calls as objects. */
function templateMessage(message: ChatRequestMessage): ChatMessage {
  const { role, content, tool_calls, ...rest } = message;
  return {
    ...rest,
    // Templates of models that other people made know no developer.
    role: role === "developer" ? "system" : role,
    content: typeof content === "string" ? content : (content ?? []).map(partText).join("\n"),
    ...(tool_calls ? { tool_calls: tool_calls.map(templateCall) } : {}),
  };
}

const partText = (part: Record<string, unknown>): string =>
  typeof part.text === "string" ? part.text : String(part.refusal ?? "");

function templateCall(call: NonNullable<ChatRequestMessage["tool_calls"]>[number]) {
  try {
    const given = JSON.parse(call.function.arguments || "{}");
    return { ...call, function: { ...call.function, arguments: given } };
  } catch (cause) {
    throw invalidField("messages", `The arguments of ${call.function.name} are not JSON.`, cause);
  }
}
