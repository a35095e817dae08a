/** The JSON object or array that begins at `start`, and where it ends; undefined where it is none. */
export function jsonAt(
  text: string,
  start: number,
): { readonly value: unknown; readonly end: number } | undefined {
  let depth = 0;
  let quoted = false;
  for (let at = start; at < text.length; at++) {
    const character = text[at];
    if (quoted) {
      if (character === "\\") at++;
      else if (character === '"') quoted = false;
    } else if (character === '"') quoted = true;
    else if (character === "{" || character === "[") depth++;
    else if ((character === "}" || character === "]") && --depth === 0) {
      try {
        return { value: JSON.parse(text.slice(start, at + 1)), end: at + 1 };
      } catch {
        return undefined;
      }
    }
  }
  return undefined;
}
