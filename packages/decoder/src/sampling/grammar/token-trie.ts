import type { Tokenizer } from "../../text/tokenizer.ts";

/** The bytes of all tokens that are text, as a tree. */
export interface TokenTrie {
  readonly vocabSize: number;
  /** The bytes of a token; undefined for one that is no text. */
  bytesOf(tokenId: number): Uint8Array | undefined;
  readonly root: TrieNode;
}

export interface TrieNode {
  readonly children: Map<number, TrieNode>;
  /** Tokens that end here. */
  readonly tokenIds: number[];
}

/**
 * Sorts the vocabulary by its bytes, once for a model. `vocabSize` is that of the logits. Special
 * tokens are no text, and neither are ids that the tokenizer does not know.
 */
export function createTokenTrie(
  tokenizer: Pick<Tokenizer, "tokenBytes" | "isSpecial">,
  vocabSize: number,
): TokenTrie {
  const root: TrieNode = { children: new Map(), tokenIds: [] };
  const bytes: (Uint8Array | undefined)[] = [];
  for (let id = 0; id < vocabSize; id++) {
    const token = tokenizer.isSpecial(id) ? undefined : tokenizer.tokenBytes(id);
    if (!token || token.length === 0) continue;
    bytes[id] = token;
    let node = root;
    for (const byte of token) {
      let child = node.children.get(byte);
      if (!child) {
        child = { children: new Map(), tokenIds: [] };
        node.children.set(byte, child);
      }
      node = child;
    }
    node.tokenIds.push(id);
  }
  return { vocabSize, bytesOf: (id) => bytes[id], root };
}
