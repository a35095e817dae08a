import { TemplateFailure } from "./failure.ts";
import type { Token } from "./lexer.ts";

/** The tokens of a template, with a place in them. */
export interface TokenStream {
  /** The token `ahead` places further; undefined behind the end. */
  peek(ahead?: number): Token | undefined;
  /** Whether the next token is that operator, tag mark or name. */
  is(type: Token["type"], value?: string, ahead?: number): boolean;
  /** Takes the next token if it is that one. */
  take(type: Token["type"], value?: string): Token | undefined;
  /** Takes the next token, which must be that one. */
  expect(type: Token["type"], value?: string): Token;
  fail(message: string): never;
}

export function tokenStream(tokens: readonly Token[]): TokenStream {
  let position = 0;

  function is(type: Token["type"], value?: string, ahead = 0): boolean {
    const token = tokens[position + ahead];
    return token?.type === type && (value === undefined || token.value === value);
  }

  function take(type: Token["type"], value?: string): Token | undefined {
    return is(type, value) ? tokens[position++] : undefined;
  }

  function fail(message: string): never {
    const line = (tokens[position] ?? tokens.at(-1))?.line ?? 1;
    throw new TemplateFailure(`line ${line}: ${message}`);
  }

  return {
    peek: (ahead = 0) => tokens[position + ahead],
    is,
    take,
    fail,
    expect(type, value) {
      const token = take(type, value);
      if (token) return token;
      const found = tokens[position]?.value.slice(0, 20) ?? "the end of the template";
      return fail(`expected ${value ?? type}, found ${found}`);
    },
  };
}
