import { KvCacheError } from "@kvcache/core";

/** What long work has gathered so far. */
export type StateArrays = Readonly<Record<string, Float32Array | Float64Array>>;

export interface PartialState {
  /** What the work is: a file of other work is not gone on with. */
  readonly key: string;
  /** Parts of the work that are done. */
  readonly done: number;
  readonly arrays: StateArrays;
}

const format = "kvcache-partial-state";
const alignment = 8;
const aligned = (bytes: number) => Math.ceil(bytes / alignment) * alignment;

interface Header {
  readonly format: string;
  readonly version: number;
  readonly key: string;
  readonly done: number;
  readonly arrays: readonly (readonly [name: string, dtype: "f32" | "f64", length: number])[];
}

/** The bytes of a state: a line of JSON, padded with spaces, and the arrays as they are in memory. */
export function encodePartialState({ key, done, arrays }: PartialState): Uint8Array {
  const entries = Object.entries(arrays);
  const header: Header = {
    format,
    version: 1,
    key,
    done,
    arrays: entries.map(([name, data]) => [
      name,
      data instanceof Float32Array ? "f32" : "f64",
      data.length,
    ]),
  };
  const text = new TextEncoder().encode(JSON.stringify(header));
  const start = aligned(text.length + 1);
  const size = entries.reduce((sum, [, data]) => sum + aligned(data.byteLength), start);
  const bytes = new Uint8Array(size).fill(0x20, text.length, start - 1);
  bytes.set(text);
  bytes[start - 1] = 0x0a;
  let at = start;
  for (const [, data] of entries) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += aligned(data.byteLength);
  }
  return bytes;
}

/** Reads what {@link encodePartialState} wrote. Throws `invalid-file` for anything else. */
export function decodePartialState(bytes: Uint8Array): PartialState {
  const end = bytes.indexOf(0x0a);
  const header = parsed(bytes.subarray(0, Math.max(0, end)));
  if (header?.format !== format || header.version !== 1)
    throw malformed("it is none of this version");
  let at = end + 1;
  const arrays: Record<string, Float32Array | Float64Array> = {};
  for (const [name, dtype, length] of header.arrays) {
    const size = length * (dtype === "f32" ? 4 : 8);
    if (at + size > bytes.length) throw malformed(`${name} is cut off`);
    // A copy: slice of a Buffer is none.
    const own = new Uint8Array(bytes.subarray(at, at + size)).buffer;
    arrays[name] = dtype === "f32" ? new Float32Array(own) : new Float64Array(own);
    at += aligned(size);
  }
  return { key: header.key, done: header.done, arrays };
}

function parsed(bytes: Uint8Array): Header | undefined {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as Header;
  } catch {
    return undefined;
  }
}

const malformed = (what: string) =>
  new KvCacheError("invalid-file", `This is no file of work that was cut short: ${what}.`, {
    remedy: "Delete it, and the work begins anew.",
  });
