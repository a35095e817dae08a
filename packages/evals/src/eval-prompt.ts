import { KvCacheError } from "@kvcache/core";
import type { Runtime } from "@kvcache/engine";
import type { EvalSample } from "./sample.ts";

/** A sample as token ids: what is cached when compression happens, what follows, and the answer. */
export interface EvalPrompt {
  readonly cached: readonly number[];
  readonly rest: readonly number[];
  readonly answer: readonly number[];
}

/**
 * The chat of one user message: context, then question. With the question hidden only what stands
 * before it is cached when compression happens. Context and question are encoded apart, so that
 * the cached tokens are the same for every question. Models without a chat template get the bare
 * text. Throws `not-found` for a model without a tokenizer.
 */
export function evalPrompt(
  { name, tokenizer }: Runtime["model"],
  { context, turns }: EvalSample,
  question: "hidden" | "visible",
): EvalPrompt {
  if (!tokenizer)
    throw new KvCacheError("not-found", `${name} has no tokenizer, so it takes no text.`, {
      value: name,
    });
  const turn = turns[0]!;
  const encode = (text: string) => [...tokenizer.encode(text, { addSpecialTokens: false })];
  const { before, after } = chatAround(tokenizer);
  const head = [...encode(before), ...encode(context)];
  const asked = encode(turn.question);
  const tail = encode(after);
  const answer = encode(turn.answers.join(", "));
  return question === "hidden"
    ? { cached: head, rest: [...asked, ...tail], answer }
    : { cached: [...head, ...asked], rest: tail, answer };
}

/** What the chat template writes before and after a user's message. */
function chatAround(tokenizer: NonNullable<Runtime["model"]["tokenizer"]>) {
  if (tokenizer.chatTemplates.length === 0)
    return { before: tokenizer.specialTokens.bos_token ?? "", after: "\n" };
  const mark = "\uE000";
  const chat = tokenizer.applyChatTemplate([{ role: "user", content: mark }], {
    addGenerationPrompt: true,
  });
  const at = chat.indexOf(mark);
  if (at < 0)
    throw new KvCacheError("invalid-model", "The chat template leaves the user's message out.");
  return { before: chat.slice(0, at), after: chat.slice(at + mark.length) };
}
