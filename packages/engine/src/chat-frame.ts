import type { ChatFrame } from "@kvcache/core";
import type { ChatTokenizer } from "@kvcache/decoder";

/** A message that no template can mistake for a part of itself. */
const message = "What stands around me?";

/**
 * What a model's chat template writes around a first user message: before it, and from its end to the
 * start of the answer. Undefined for a model without a template, or one that rewrites messages.
 */
export function chatFrame(tokenizer: ChatTokenizer | undefined): ChatFrame | undefined {
  if (!tokenizer || tokenizer.chatTemplates.length === 0) return undefined;
  const text = tokenizer.applyChatTemplate([{ role: "user", content: message }], {
    addGenerationPrompt: true,
    variables: { enable_thinking: false },
  });
  const at = text.indexOf(message);
  if (at < 0) return undefined;
  const encode = (part: string) => tokenizer.encode(part, { addSpecialTokens: false });
  return { prefix: encode(text.slice(0, at)), suffix: encode(text.slice(at + message.length)) };
}
