import { TemplateFailure } from "./failure.ts";
import { strip } from "./text-functions.ts";

export interface Token {
  /** `text` lies between tags; `tag` and `endTag` are the marks of `{{ }}` and `{% %}`. */
  readonly type: "text" | "tag" | "endTag" | "name" | "string" | "integer" | "float" | "operator";
  /** The text itself, an operator, a name; of strings the value, of numbers the digits. */
  readonly value: string;
  readonly line: number;
}

const TAG = /\{([{%#])([-+]?)/g;
const COMMENT_END = /(\+#\}|-#\}\s*|#\}\n?)/g;
const BLOCK_END = /\+%\}|-%\}\s*|%\}\n?/y;
const PRINT_END = /-\}\}\s*|\}\}/y;
const RAW = /\{%[-+]?\s*raw\s*(?:-%\}\s*|%\})/y;
const END_RAW = /\{%([-+]?)\s*endraw\s*(?:\+%\}|-%\}\s*|%\}\n?)/g;

const SPACE = /\s+/y;
const FLOAT = /(?<!\.)(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iy;
const INTEGER = /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy;
const NAME = /[\p{L}\p{N}_]+/uy;
const STRING = /'[^'\\]*(?:\\[\s\S][^'\\]*)*'|"[^"\\]*(?:\\[\s\S][^"\\]*)*"/y;
const OPERATOR = /\*\*|\/\/|==|!=|>=|<=|[-+*/%~[\](){}<>=.:|,]/y;

/**
 * Cuts a template into tokens, with the white-space rules of chat templates: the newline behind a
 * block is dropped (trim_blocks), so are blanks before a block that starts its line
 * (lstrip_blocks), and `-` next to a tag takes all white space, `+` none.
 */
export function tokenize(template: string): Token[] {
  const source = template.replace(/\r\n?/g, "\n").replace(/\n$/, "");
  const tokens: Token[] = [];
  let position = 0;
  let line = 1;
  let counted = 0;
  /** Whether what was consumed last ended a line, so that blanks now are at the start of one. */
  let atLineStart = true;

  function push(type: Token["type"], value: string): void {
    for (; counted < position; counted++) if (source[counted] === "\n") line++;
    tokens.push({ type, value, line });
  }

  function match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = position;
    const found = pattern.exec(source) ?? undefined;
    if (found) position = pattern.lastIndex;
    return found;
  }

  function pushText(text: string, sign: string, isBlock: boolean): void {
    let kept = text;
    if (sign === "-") kept = strip(text, "right");
    else if (sign !== "+" && isBlock) {
      const lineStart = text.lastIndexOf("\n") + 1;
      const blank = /^[ \t]*$/.test(text.slice(lineStart));
      if (blank && (lineStart > 0 || atLineStart)) kept = text.slice(0, lineStart);
    }
    if (kept !== "") push("text", kept);
  }

  function closes(found: RegExpExecArray): void {
    atLineStart = found[0].endsWith("\n");
  }

  function skipComment(): void {
    const end = match(COMMENT_END);
    if (!end) throw new TemplateFailure(`line ${line}: missing end of comment tag`);
    closes(end);
  }

  function readRaw(): void {
    const start = position;
    const end = match(END_RAW);
    if (!end) throw new TemplateFailure(`line ${line}: missing endraw`);
    atLineStart = false;
    pushText(source.slice(start, end.index), end[1]!, true);
    closes(end);
  }

  /** The inside of `{{ … }}` or `{% … %}`, up to and with its end. */
  function readTag(ending: RegExp): void {
    let depth = 0;
    for (;;) {
      match(SPACE);
      const end = depth === 0 ? match(ending) : undefined;
      if (end) {
        push("endTag", end[0].includes("%") ? "%}" : "}}");
        closes(end);
        return;
      }
      const float = match(FLOAT);
      const integer = float ? undefined : match(INTEGER);
      const number = float ?? integer;
      const name = number ? undefined : match(NAME);
      const text = number || name ? undefined : match(STRING);
      if (number) push(float ? "float" : "integer", number[0].replaceAll("_", ""));
      else if (name) push("name", name[0]);
      else if (text) push("string", unescapeString(text[0].slice(1, -1)));
      else depth += readOperator();
    }
  }

  /** Returns how much deeper the operator leads into brackets. */
  function readOperator(): number {
    const operator = match(OPERATOR)?.[0];
    if (operator === undefined) {
      const at = source.slice(position, position + 10);
      throw new TemplateFailure(
        at === "" ? `line ${line}: a tag is not closed` : `line ${line}: unexpected ${at}`,
      );
    }
    push("operator", operator);
    if ("[({".includes(operator)) return 1;
    return "])}".includes(operator) ? -1 : 0;
  }

  while (position < source.length) {
    TAG.lastIndex = position;
    const tag = TAG.exec(source);
    const kind = tag?.[1];
    const text = source.slice(position, tag?.index);
    pushText(text, tag?.[2] ?? "+", kind === "%" || kind === "#");
    if (!tag) break;
    position = tag.index;
    if (kind === "%" && match(RAW)) {
      readRaw();
      continue;
    }
    position = TAG.lastIndex;
    if (kind === "#") skipComment();
    else {
      push("tag", kind === "%" ? "{%" : "{{");
      readTag(kind === "%" ? BLOCK_END : PRINT_END);
    }
  }
  return tokens;
}

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ["n", "\n"],
  ["t", "\t"],
  ["r", "\r"],
  ["a", "\x07"],
  ["b", "\b"],
  ["f", "\f"],
  ["v", "\v"],
  ["\\", "\\"],
  ["'", "'"],
  ['"', '"'],
  ["\n", ""],
]);

/** Python's string escapes; an unknown one keeps its backslash. */
function unescapeString(text: string): string {
  return text.replace(
    /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{1,3})|([\s\S]))/g,
    (whole, hex2?: string, hex4?: string, hex8?: string, octal?: string, char?: string) => {
      const digits = hex2 ?? hex4 ?? hex8;
      if (digits !== undefined) return codePoint(Number.parseInt(digits, 16), whole);
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8));
      return ESCAPES.get(char!) ?? whole;
    },
  );
}

function codePoint(code: number, source: string): string {
  if (code <= 0x10ffff) return String.fromCodePoint(code);
  throw new TemplateFailure(`illegal character in ${source}`);
}
