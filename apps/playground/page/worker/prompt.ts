import type { ChatTokenizer } from "@kvcache/decoder";

export interface Prompt {
  readonly ids: Int32Array;
  /** Tokens up to the end of the text: what comes before the question. */
  readonly textEnd: number;
}

/** Text and question as one message of the user, in the model's own chat template where it has one. */
export function makePrompt(tokenizer: ChatTokenizer, text: string, question: string): Prompt {
  const hasTemplate = tokenizer.chatTemplates.length > 0;
  const encode = (content: string) =>
    hasTemplate
      ? tokenizer.encode(
          tokenizer.applyChatTemplate([{ role: "user", content }], {
            addGenerationPrompt: true,
            variables: { enable_thinking: false },
          }),
          { addSpecialTokens: false },
        )
      : tokenizer.encode(content);
  const read = text === "" || /\s$/.test(text) ? text : `${text}\n\n`;
  const ids = encode(read + question);
  // What prompts of different questions share.
  return { ids, textEnd: commonLength(ids, encode(`${read}\u0000`)) };
}

function commonLength(a: Int32Array, b: Int32Array): number {
  const end = Math.min(a.length, b.length);
  let length = 0;
  while (length < end && a[length] === b[length]) length++;
  return length;
}

/**
 * About `numTokens` tokens of a text: its beginning, or such a part that `anchor` stands two fifths
 * into it.
 */
export function cutText(
  tokenizer: ChatTokenizer,
  text: string,
  numTokens: number,
  anchor: string | undefined,
): { text: string; numTokens: number } {
  const ids = tokenizer.encode(text, { addSpecialTokens: false });
  if (ids.length <= numTokens) return { text, numTokens: ids.length };
  const at = anchor ? text.indexOf(anchor) : -1;
  const before =
    at < 0 ? 0 : tokenizer.encode(text.slice(0, at), { addSpecialTokens: false }).length;
  const wanted = before - Math.floor(0.4 * numTokens);
  const start = Math.max(0, Math.min(wanted, ids.length - numTokens));
  const part = tokenizer.decode(ids.subarray(start, start + numTokens));
  const whole = start === 0 ? part : fromParagraph(part);
  return {
    text: whole,
    numTokens: tokenizer.encode(whole, { addSpecialTokens: false }).length,
  };
}

/** Leaves out a torn beginning: to the next paragraph where it is near, else to the next word. */
function fromParagraph(part: string): string {
  const paragraph = part.indexOf("\n\n") + 2;
  const near = paragraph >= 2 && paragraph < part.length / 5;
  return near ? part.slice(paragraph) : part.replace(/^\S*\s+/, "");
}

/** The text of each token; a character of several tokens stands at the last of them. */
export function tokenTexts(tokenizer: ChatTokenizer, ids: Int32Array): string[] {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return Array.from(ids, (id) =>
    decoder.decode(tokenizer.tokenBytes(id) ?? new Uint8Array(), { stream: true }),
  );
}
