export { choice, one, type Rule, type Sequence, text } from "./grammar.ts";
export { jsonObjectGrammar } from "./json-grammar.ts";
export { jsonSchemaGrammar } from "./json-schema.ts";
export { compileTokenGrammar, type TokenConstraint, type TokenGrammar } from "./token-grammar.ts";
export { createTokenTrie, type TokenTrie } from "./token-trie.ts";
