import { KvCacheError } from "@kvcache/core";
import { createByteMachine, type MachineState } from "./byte-machine.ts";
import type { Rule } from "./grammar.ts";
import type { TokenTrie, TrieNode } from "./token-trie.ts";

/** Says which tokens may come next in one answer. */
export interface TokenConstraint {
  /** Bit `id % 32` of word `id / 32` is set where the token may come next: u32 [⌈vocabSize / 32⌉]. */
  allowed(): Uint32Array;
  /** Takes the token that was chosen; true when the answer is complete and nothing may follow. */
  accept(tokenId: number): boolean;
}

/** A grammar over the tokens of one model. */
export interface TokenGrammar {
  /** A constraint for one answer. */
  start(): TokenConstraint;
}

/**
 * Compiles a grammar for a vocabulary. `endIds` end an answer: they are allowed where the grammar's
 * text may end. Masks are kept with the grammar, so compile a schema once for many requests.
 */
export function compileTokenGrammar(
  grammar: Rule,
  trie: TokenTrie,
  endIds: Iterable<number>,
): TokenGrammar {
  const machine = createByteMachine(grammar);
  const masks = new WeakMap<MachineState, Uint32Array>();
  const ends = new Set([...endIds].filter((id) => id < trie.vocabSize));

  function maskOf(state: MachineState): Uint32Array {
    const known = masks.get(state);
    if (known) return known;
    const mask = new Uint32Array(Math.ceil(trie.vocabSize / 32));
    const allow = (id: number) => {
      mask[id >> 5]! |= 1 << (id & 31);
    };
    const walk = (from: MachineState, node: TrieNode) => {
      for (const [byte, child] of node.children) {
        const next = machine.step(from, byte);
        if (!next) continue;
        for (const id of child.tokenIds) allow(id);
        walk(next, child);
      }
    };
    walk(state, trie.root);
    if (state.accepts) for (const id of ends) allow(id);
    masks.set(state, mask);
    return mask;
  }

  return {
    start() {
      let state = machine.start;
      return {
        allowed: () => maskOf(state),
        accept(tokenId) {
          if (state.accepts && ends.has(tokenId)) return true;
          const bytes = trie.bytesOf(tokenId);
          let next: MachineState | null = bytes ? state : null;
          for (const byte of bytes ?? []) next = next && machine.step(next, byte);
          if (!next)
            throw new KvCacheError("invalid-argument", `Token ${tokenId} breaks the grammar.`, {
              value: tokenId,
              remedy: "Choose among the tokens that `allowed` names.",
            });
          state = next;
          return state.accepts && state.waiting.length === 0;
        },
      };
    },
  };
}
