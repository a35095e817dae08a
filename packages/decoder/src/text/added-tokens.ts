import type { Normalizer } from "./normalizer.ts";
import { WORD } from "./oniguruma-pattern.ts";
import { arrayAt, booleanAt, integerAt, objectAt, stringAt } from "./tokenizer-json.ts";
import { leadingSpace, trailingSpace } from "./white-space.ts";

/** A token that is found in the text before the model sees it. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Only between characters that are not word characters. */
  readonly singleWord: boolean;
  /** Takes the white space before (after) it along. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Searched in the normalized text, in its own normalized form. */
  readonly normalized: boolean;
  /** Left out where special tokens are skipped. */
  readonly special: boolean;
}

/** A stretch of text, or the added token that was found there. */
export type Section = { readonly text: string; readonly start: number } | { readonly id: number };

const STARTS_WITH_WORD = new RegExp(`^[${WORD}]`, "u");
const ENDS_WITH_WORD = new RegExp(`[${WORD}]$`, "u");

export function readAddedTokens(value: unknown): readonly AddedToken[] {
  return arrayAt(value ?? [], "added_tokens").map((entry, i) => {
    const where = `added_tokens[${i}]`;
    const token = objectAt(entry, where);
    const special = booleanAt(token.special, `${where}.special`, false);
    return {
      id: integerAt(token.id, `${where}.id`),
      content: stringAt(token.content, `${where}.content`),
      singleWord: booleanAt(token.single_word, `${where}.single_word`, false),
      lstrip: booleanAt(token.lstrip, `${where}.lstrip`, false),
      rstrip: booleanAt(token.rstrip, `${where}.rstrip`, false),
      normalized: booleanAt(token.normalized, `${where}.normalized`, !special),
      special,
    };
  });
}

/**
 * Cuts texts at added tokens: the leftmost first, the longest of those that start together.
 * With a normalizer the tokens are searched in their normalized form.
 */
export function addedTokenSplitter(
  tokens: readonly AddedToken[],
  normalize?: Normalizer,
): (text: string) => Section[] {
  const root: TrieNode = { next: new Map() };
  for (const token of tokens) {
    let node = root;
    const content = normalize ? normalize(token.content) : token.content;
    for (let i = 0; i < content.length; i++) {
      const unit = content.charCodeAt(i);
      const child: TrieNode = node.next.get(unit) ?? { next: new Map() };
      node.next.set(unit, child);
      node = child;
    }
    if (node !== root) node.token = token;
  }

  return (text) => {
    const sections: Section[] = [];
    let done = 0;
    for (let from = 0; from < text.length; ) {
      const found = longestAt(root, text, from);
      if (!found) {
        from++;
        continue;
      }
      let start = from;
      let end = from + found.length;
      from = end;
      const { id, singleWord, lstrip, rstrip } = found.token;
      if (singleWord && touchesWord(text, start, end)) continue;
      if (lstrip) start = Math.max(trailingSpace(text.slice(0, start)), done);
      if (rstrip) end += leadingSpace(text.slice(end));
      if (done < start) sections.push({ text: text.slice(done, start), start: done });
      sections.push({ id });
      done = end;
    }
    if (done < text.length) sections.push({ text: text.slice(done), start: done });
    return sections;
  };
}

interface TrieNode {
  readonly next: Map<number, TrieNode>;
  token?: AddedToken;
}

function longestAt(
  root: TrieNode,
  text: string,
  start: number,
): { token: AddedToken; length: number } | undefined {
  let best: { token: AddedToken; length: number } | undefined;
  let node: TrieNode | undefined = root;
  for (let end = start; end < text.length; ) {
    node = node.next.get(text.charCodeAt(end++));
    if (!node) break;
    if (node.token) best = { token: node.token, length: end - start };
  }
  return best;
}

function touchesWord(text: string, start: number, end: number): boolean {
  return (
    ENDS_WITH_WORD.test(text.slice(Math.max(0, start - 2), start)) ||
    STARTS_WITH_WORD.test(text.slice(end, end + 2))
  );
}
