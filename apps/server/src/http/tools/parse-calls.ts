import { jsonAt } from "./json-at.ts";
import type { ToolFormat } from "./tool-format.ts";

export interface ParsedCall {
  readonly name: string;
  /** JSON text. */
  readonly arguments: string;
}

export interface ParsedAnswer {
  /** Text before the calls. */
  readonly content: string;
  readonly calls: readonly ParsedCall[];
}

/** What is left of an answer's text once its calls are taken out; all of it where they are broken. */
export function parseCalls(text: string, format: ToolFormat): ParsedAnswer {
  const marker = format.begin.trim();
  const begin = marker === "" ? text.search(/\S/) : text.indexOf(marker);
  const calls: ParsedCall[] = [];
  const skip = (at: number, ...pieces: string[]) => {
    let end = at;
    for (const piece of ["", ...pieces]) {
      if (piece !== "" && text.startsWith(piece, end)) end += piece.length;
      while (/\s/.test(text[end] ?? "")) end++;
    }
    return end;
  };
  let at = begin < 0 ? text.length : skip(begin, marker);
  while (text[at] === "{") {
    const found = jsonAt(text, at);
    const { [format.nameKey]: name, [format.argumentsKey]: given } = (found?.value ?? {}) as Record<
      string,
      unknown
    >;
    if (!found || typeof name !== "string") return { content: text, calls: [] };
    calls.push({
      name,
      arguments: typeof given === "string" ? given : JSON.stringify(given ?? {}),
    });
    at = skip(found.end, format.separator.trim(), format.end.trim(), marker);
  }
  if (calls.length === 0) return { content: text, calls };
  return { content: text.slice(0, begin).trimEnd(), calls };
}

/** Lets text through until calls may begin, and keeps the rest for `parseCalls`. */
export interface CallSplitter {
  /** Text that is certainly no call. */
  push(text: string): string;
  end(): ParsedAnswer;
}

export function callSplitter(format: ToolFormat): CallSplitter {
  const marker = format.begin.trim();
  let sent = "";
  let held = "";
  let inCalls = false;
  return {
    push(text) {
      held += text;
      if (inCalls) return "";
      const at = marker === "" ? held.search(/\S/) : held.indexOf(marker);
      // Without a marker, only an answer that begins with an object is a call.
      if (marker === "") inCalls = sent.trim() === "" && held[at] === "{";
      else inCalls = at >= 0;
      const free = inCalls ? at : held.length - beginningOf(marker, held);
      const out = held.slice(0, free);
      held = held.slice(free);
      sent += out;
      return out;
    },
    end: () => (inCalls ? parseCalls(held, format) : { content: held, calls: [] }),
  };
}

/** Length of the longest end of `text` that the marker begins with. */
function beginningOf(marker: string, text: string): number {
  let length = Math.min(marker.length - 1, text.length);
  while (length > 0 && !text.endsWith(marker.slice(0, length))) length--;
  return Math.max(0, length);
}
