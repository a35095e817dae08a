export * from "./accumulated-attention.ts";
export * from "./key-norm.ts";
export * from "./position.ts";
export * from "./scorer-from.ts";
export * from "./window-attention.ts";
