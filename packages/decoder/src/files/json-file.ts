import { KvCacheError } from "@kvcache/core";

export type JsonObject = { readonly [key: string]: unknown };

/** No configuration file of a model comes near these. */
export const MAX_JSON_BYTES = 100_000_000;
const MAX_DEPTH = 64;
const MAX_VALUES = 4_000_000;
/** Of one object whose keys must be unique: ten times the tensors of the largest models. */
const MAX_UNIQUE_KEYS = 200_000;

/**
 * Parses an untrusted JSON file whose top is an object: UTF-8 (a byte order mark is skipped),
 * bounded in depth and number of values. With `uniqueKeys` a repeated key is an error, where
 * JSON.parse would keep the last one. Throws `invalid-model` naming the file.
 */
export function parseJsonObject(
  bytes: Uint8Array,
  file: string,
  { uniqueKeys = false }: { uniqueKeys?: boolean } = {},
): JsonObject {
  if (bytes.length > MAX_JSON_BYTES) throw invalid(file, `has ${bytes.length} bytes of JSON`);
  let value: unknown;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    checkStructure(text, file, uniqueKeys);
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof KvCacheError) throw error;
    const reason = (error as Error).message.replaceAll(/\s+/g, " ");
    throw invalid(file, `is not valid JSON (${reason})`, error);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw invalid(file, "must hold a JSON object");
  return value as JsonObject;
}

const invalid = (file: string, what: string, cause?: unknown) =>
  new KvCacheError("invalid-model", `${file} ${what}.`, {
    value: file,
    remedy: "Fetch the file again or repair it.",
    cause,
  });

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const [OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY] = [0x7b, 0x7d, 0x5b, 0x5d];

/** One pass over the text before it is parsed. Malformed text is left for JSON.parse to report. */
function checkStructure(text: string, file: string, uniqueKeys: boolean): void {
  const open: (Set<string> | undefined)[] = [];
  const keysAtDepth = Array.from({ length: MAX_DEPTH }, () => new Set<string>());
  let values = 0;
  let lastMark = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) {
      const start = i;
      for (i++; i < text.length && text.charCodeAt(i) !== QUOTE; i++)
        if (text.charCodeAt(i) === BACKSLASH) i++;
      const keys = open.at(-1);
      if (uniqueKeys && keys && (lastMark === OPEN_OBJECT || lastMark === COMMA)) {
        const key = JSON.parse(text.slice(start, i + 1)) as string;
        if (keys.has(key)) throw invalid(file, `names "${key.slice(0, 200)}" twice`);
        keys.add(key);
        if (keys.size > MAX_UNIQUE_KEYS)
          throw invalid(file, `has more than ${MAX_UNIQUE_KEYS} entries`);
      }
      lastMark = QUOTE;
    } else if (code === OPEN_OBJECT || code === OPEN_ARRAY) {
      if (open.length === MAX_DEPTH) throw invalid(file, `nests deeper than ${MAX_DEPTH} levels`);
      const keys = keysAtDepth[open.length]!;
      keys.clear();
      open.push(code === OPEN_OBJECT ? keys : undefined);
      lastMark = code;
    } else if (code === CLOSE_OBJECT || code === CLOSE_ARRAY) {
      open.pop();
      lastMark = code;
    } else if (code === COMMA) {
      lastMark = code;
      if (++values > MAX_VALUES) throw invalid(file, `holds more than ${MAX_VALUES} values`);
    }
  }
}
