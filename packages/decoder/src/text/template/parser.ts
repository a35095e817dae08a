import type { Block, Call, ForStatement, Parameter, Statement } from "./ast.ts";
import { expressionParser } from "./expression-parser.ts";
import { tokenize } from "./lexer.ts";
import { tokenStream } from "./token-stream.ts";

/**
 * Parses a Jinja template as chat templates use it: all of Jinja's expressions and the statements
 * for, if, set, macro, call, filter, with, block, break, continue and generation. Throws
 * TemplateFailure with the line for anything else.
 */
export function parseTemplate(source: string): Block {
  const tokens = tokenStream(tokenize(source));
  const { is, take, expect, fail, peek } = tokens;
  const expressions = expressionParser(tokens);
  const { expression } = expressions;
  const keyword = (name: string): boolean => take("name", name) !== undefined;

  /** Statements up to the tag that starts with one of `ends`, whose name is taken and returned. */
  function block(ends: readonly string[]): { body: Block; end: string } {
    const body: Statement[] = [];
    for (;;) {
      const text = take("text");
      if (text) body.push({ kind: "text", text: text.value });
      else if (take("tag", "{{")) {
        body.push({ kind: "print", value: expressions.tuple() });
        expect("endTag", "}}");
      } else if (take("tag", "{%")) {
        const end = ends.find(keyword);
        if (end) return { body, end };
        body.push(...statement(expect("name").value));
      } else if (peek()) fail(`unexpected ${peek()!.value}`);
      else if (ends.length > 0) fail(`missing ${ends.map((end) => `{% ${end} %}`).join(" or ")}`);
      else return { body, end: "" };
    }
  }

  function bodyUntil(end: string): Block {
    closeTag();
    const { body } = block([end]);
    closeTag();
    return body;
  }

  /** The rest of a statement whose body ended with the tag `end`, either `else` or `closing`. */
  function elseBlock(end: string, closing: string): Block {
    if (end === "else") return bodyUntil(closing);
    closeTag();
    return [];
  }

  function closeTag(): void {
    expect("endTag", "%}");
  }

  function statement(name: string): Block {
    switch (name) {
      case "if":
        return [ifStatement()];
      case "for":
        return [forStatement()];
      case "set":
        return [setStatement()];
      case "macro": {
        const macro = expect("name").value;
        const own = parameters();
        return [{ kind: "macro", name: macro, parameters: own, body: bodyUntil("endmacro") }];
      }
      case "call": {
        const own = is("operator", "(") ? parameters() : [];
        const call = expressions.postfix(expressions.primary());
        if (call.kind !== "callExpression") fail("expected a call");
        return [{ kind: "call", call, parameters: own, body: bodyUntil("endcall") }];
      }
      case "filter": {
        const filters = [expressions.filterCall(), ...moreFilters()];
        return [{ kind: "filter", filters, body: bodyUntil("endfilter") }];
      }
      case "with":
        return [withStatement()];
      case "block":
        expect("name");
        return [{ kind: "block", body: bodyUntil("endblock") }];
      case "generation":
        return [{ kind: "block", body: bodyUntil("endgeneration") }];
      case "break":
      case "continue":
        closeTag();
        return [{ kind: name }];
      default:
        return fail(`unknown tag ${name}`);
    }
  }

  function ifStatement(): Statement {
    const branches = [];
    for (;;) {
      const test = expressions.tuple({ conditional: false });
      closeTag();
      const { body, end } = block(["elif", "else", "endif"]);
      branches.push({ test, body });
      if (end === "elif") continue;
      return { kind: "if", branches, otherwise: elseBlock(end, "endif") };
    }
  }

  function forStatement(): ForStatement {
    const target = expressions.target();
    expect("name", "in");
    const items = expressions.tuple({ conditional: false });
    const test = keyword("if") ? expression() : undefined;
    if (is("name", "recursive")) fail("recursive loops are not supported");
    closeTag();
    const { body, end } = block(["else", "endfor"]);
    return { kind: "for", target, items, test, body, otherwise: elseBlock(end, "endfor") };
  }

  function setStatement(): Statement {
    const target = expressions.target();
    if (take("operator", "=")) {
      const value = expressions.tuple();
      closeTag();
      return { kind: "set", target, value };
    }
    return { kind: "setBlock", target, filters: moreFilters(), body: bodyUntil("endset") };
  }

  function withStatement(): Statement {
    const names = [];
    while (!is("endTag")) {
      if (names.length > 0) expect("operator", ",");
      const target = expressions.target();
      expect("operator", "=");
      names.push({ target, value: expression() });
    }
    return { kind: "with", names, body: bodyUntil("endwith") };
  }

  function moreFilters(): Call[] {
    const filters: Call[] = [];
    while (take("operator", "|")) filters.push(expressions.filterCall());
    return filters;
  }

  function parameters(): Parameter[] {
    const list: Parameter[] = [];
    expect("operator", "(");
    while (!take("operator", ")")) {
      if (list.length > 0) expect("operator", ",");
      const name = expect("name").value;
      const fallback = take("operator", "=") ? expression() : undefined;
      if (!fallback && list.at(-1)?.fallback) fail("non-default argument follows default argument");
      list.push({ name, fallback });
    }
    return list;
  }

  return block([]).body;
}
