import type { ChatMessage, ChatTemplateOptions } from "@kvcache/decoder";
import { invalidField } from "./api-error.ts";
import { defined } from "./generation-request.ts";
import type { ChatRequest, ChatRequestMessage } from "./schemas/chat.ts";
import type { ServedModel } from "./served-model.ts";
import type { ToolUse } from "./tools/tool-use.ts";

/** A chat as token ids, and where its cache is to be compressed. */
export interface ChatPromptIds {
  readonly ids: Int32Array;
  readonly compressAfter: number | undefined;
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
  const last = body.kv?.compressAfter;
  if (last === undefined || last === null) return { ids, compressAfter: undefined };
  if (last >= messages.length)
    throw invalidField("kv.compressAfter", `There are ${messages.length} messages, from 0 on.`);
  const before = encode(tokenizer.applyChatTemplate(messages.slice(0, last + 1), options));
  let common = 0;
  while (common < before.length && before[common] === ids[common]) common++;
  if (common === 0)
    throw invalidField("kv.compressAfter", "The template does not write messages one by one.");
  return { ids, compressAfter: common };
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
