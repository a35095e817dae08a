import type { DecoderStage } from "./decoder-stage.ts";

/** Cuts up to `start` leading and `stop` trailing `content` characters from one whole token. */
export function stripToken(content: string, start: number, stop: number): (t: string) => string {
  return (token) => {
    let from = 0;
    while (from < start * content.length && token.startsWith(content, from)) from += content.length;
    let to = token.length;
    const least = Math.max(from, token.length - stop * content.length);
    while (to > least && token.endsWith(content, to)) to -= content.length;
    return token.slice(from, to);
  };
}

/** The same for one long token that comes in fragments: holds back what may be the end. */
export function stripStream(content: string, start: number, stop: number): DecoderStage {
  let toCut = start;
  let held = "";
  return {
    push(fragment) {
      let text = held + fragment;
      while (toCut > 0 && text.startsWith(content)) {
        text = text.slice(content.length);
        toCut--;
      }
      if (text !== "") toCut = 0;
      const kept = stripToken(content, 0, stop)(text);
      held = text.slice(kept.length);
      return [kept];
    },
    flush: () => [],
  };
}

/** Replaces a literal in one long token that comes in fragments. */
export function replaceStream(literal: string, replacement: string): DecoderStage {
  let held = "";
  return {
    push(fragment) {
      const parts = (held + fragment).split(literal);
      const last = parts.pop()!;
      let keep = Math.min(last.length, literal.length - 1);
      while (keep > 0 && !literal.startsWith(last.slice(last.length - keep))) keep--;
      held = last.slice(last.length - keep);
      return [[...parts, last.slice(0, last.length - keep)].join(replacement)];
    },
    flush: () => [held],
  };
}

/** The end-of-word suffix becomes a space, except in the last token, where it vanishes. */
export function suffixStage(suffix: string): DecoderStage {
  let held: string[] = [];
  return {
    push(token) {
      const [head, ...rest] = token.split(suffix);
      const before = held.map((part) => ` ${part}`).join("");
      held = rest;
      return [before + head];
    },
    flush: () => (held.join("") === "" ? [] : [held.join("")]),
  };
}

/** CTC: repeated tokens count once, padding vanishes, the delimiter becomes a space. */
export function ctcStage(pad: string, delimiter: string, cleanup: boolean): DecoderStage {
  let previous: string | undefined;
  return {
    push(token) {
      if (token === previous) return [];
      previous = token;
      const text = pad === "" ? token : token.replaceAll(pad, "");
      const out = cleanup ? cleanUpSpaces(text).replaceAll(delimiter, " ") : text;
      return out === "" ? [] : [out];
    },
    flush: () => [],
  };
}

const SPACES_TO_CLEAN: readonly (readonly [string, string])[] = [
  [" .", "."],
  [" ?", "?"],
  [" !", "!"],
  [" ,", ","],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [" do not", " don't"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
];

/** Removes the spaces that word pieces leave before punctuation and English contractions. */
export function cleanUpSpaces(text: string): string {
  return SPACES_TO_CLEAN.reduce((out, [from, to]) => out.replaceAll(from, to), text);
}
