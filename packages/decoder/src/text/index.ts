export type { ChatMessage, ChatTemplateOptions } from "./chat-template.ts";
export { type ChatTokenizer, loadTokenizer, type TokenizerFiles } from "./load-tokenizer.ts";
export type { StreamDecoder, Tokenizer } from "./tokenizer.ts";
