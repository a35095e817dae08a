export * from "./top-k.ts";
