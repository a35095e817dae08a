import type { PromptLogprob, TokenEvent } from "@kvcache/engine";
import type { ChatLogprob } from "./schemas/chat.ts";
import type { CompletionLogprobs } from "./schemas/completion.ts";
import type { ServedModel } from "./served-model.ts";

/** Logarithms that are −Infinity have no JSON. */
const finite = (logprob: number) => Math.max(logprob, -9999);

/** Logprobs in the form of chats. */
export function chatLogprobs(tokens: readonly TokenEvent[], model: ServedModel): ChatLogprob[] {
  const { tokenizer } = model.run.model;
  const one = (tokenId: number, logprob: number) => ({
    token: model.tokenText(tokenId),
    logprob: finite(logprob),
    bytes: tokenizer ? [...(tokenizer.tokenBytes(tokenId) ?? [])] : null,
  });
  return tokens.map(({ tokenId, logprob = 0, topLogprobs = [] }) => ({
    ...one(tokenId, logprob),
    top_logprobs: topLogprobs.map((top) => one(top.tokenId, top.logprob)),
  }));
}

/** Logprobs in the form of completions, of an echoed prompt or an answer; `offset` is in text. */
export function completionLogprobs(
  tokens: readonly (TokenEvent | PromptLogprob | { readonly tokenId: number })[],
  model: ServedModel,
  offset: number,
): CompletionLogprobs {
  const out: CompletionLogprobs = {
    tokens: [],
    token_logprobs: [],
    top_logprobs: [],
    text_offset: [],
  };
  let at = offset;
  for (const token of tokens) {
    const text = model.tokenText(token.tokenId);
    out.tokens.push(text);
    out.text_offset.push(at);
    at += text.length;
    const scored = "logprob" in token && token.logprob !== undefined ? token : undefined;
    out.token_logprobs.push(scored ? finite(scored.logprob!) : null);
    out.top_logprobs.push(
      scored
        ? Object.fromEntries(
            (scored.topLogprobs ?? []).map((top) => [
              model.tokenText(top.tokenId),
              finite(top.logprob),
            ]),
          )
        : null,
    );
  }
  return out;
}
