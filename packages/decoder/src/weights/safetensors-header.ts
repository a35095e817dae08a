import { KvCacheError } from "@kvcache/core";
import { show } from "../files/fields.ts";
import { parseJsonObject } from "../files/json-file.ts";

/** Where a tensor lies in its file. */
export interface TensorEntry {
  readonly name: string;
  readonly file: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Bytes of the file, start … end − 1. */
  readonly start: number;
  readonly end: number;
}

/** Bits per element of every dtype that the format has; most of them no decoder uses. */
const bitsOf: ReadonlyMap<string, number> = new Map([
  ...["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"].map((d) => [d, 8] as const),
  ...["I16", "U16", "F16", "BF16"].map((dtype) => [dtype, 16] as const),
  ...["I32", "U32", "F32"].map((dtype) => [dtype, 32] as const),
  ...["I64", "U64", "F64", "C64"].map((dtype) => [dtype, 64] as const),
  ...["F6_E2M3", "F6_E3M2"].map((dtype) => [dtype, 6] as const),
  ["F4", 4],
]);

const LENGTH_BYTES = 8;
/** The limit of the format's own implementation. */
const MAX_HEADER_BYTES = 100_000_000;
const MAX_RANK = 32;

/**
 * Length of the JSON header, from the file's first 8 bytes. The number is compared with the file's
 * size before anything of that length is read.
 */
export function headerLength(first: Uint8Array, file: string, fileBytes: number): number {
  if (first.length < LENGTH_BYTES)
    throw invalid(file, `has ${fileBytes} bytes, too few for a safetensors file`);
  const length = new DataView(first.buffer, first.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (length > BigInt(fileBytes - LENGTH_BYTES))
    throw invalid(file, `says its header has ${length} bytes, but the file has ${fileBytes}`);
  if (length < 2n || length > BigInt(MAX_HEADER_BYTES))
    throw invalid(file, `has a header of ${length} bytes; 2 to ${MAX_HEADER_BYTES} can be read`);
  return Number(length);
}

/**
 * Tensors of a safetensors file, in the order of their bytes. Together they must cover the data
 * exactly, without overlap or hole, as the format demands.
 */
export function parseHeader(header: Uint8Array, file: string, fileBytes: number): TensorEntry[] {
  const dataStart = LENGTH_BYTES + header.length;
  const dataBytes = fileBytes - dataStart;
  const entries = Object.entries(parseJsonObject(header, file, { uniqueKeys: true }))
    .filter(([name]) => name !== "__metadata__")
    .map(([name, entry]) => parseEntry(name, entry, file, dataStart, dataBytes))
    .sort((a, b) => a.start - b.start || a.end - b.end);
  let covered = dataStart;
  let previous = "";
  for (const { name, start, end } of entries) {
    if (start < covered)
      throw invalid(file, `gives the same bytes to ${show(previous)} and ${show(name)}`);
    if (start > covered)
      throw invalid(
        file,
        `has ${start - covered} bytes before ${show(name)} that belong to no tensor`,
      );
    covered = end;
    previous = name;
  }
  if (covered !== fileBytes)
    throw invalid(file, `has ${fileBytes - covered} bytes behind the last tensor`);
  return entries;
}

function parseEntry(
  name: string,
  entry: unknown,
  file: string,
  dataStart: number,
  dataBytes: number,
): TensorEntry {
  const bad = (what: string) => invalid(file, `tensor ${show(name)}: ${what}`);
  if (typeof entry !== "object" || entry === null || Array.isArray(entry))
    throw bad("its entry must be an object");
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>;
  const bits = typeof dtype === "string" ? bitsOf.get(dtype) : undefined;
  if (typeof dtype !== "string" || bits === undefined) throw bad(`unknown dtype ${show(dtype)}`);
  if (!isCounts(shape) || shape.length > MAX_RANK)
    throw bad(`shape ${show(shape)} must be a list of sizes`);
  if (!isCounts(offsets) || offsets.length !== 2)
    throw bad(`data_offsets ${show(offsets)} must be two byte offsets`);
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataBytes)
    throw bad(`data_offsets ${show(offsets)} leave the data of ${dataBytes} bytes`);
  // Products of sizes overflow a double's exact integers, and 64 bits; big integers do not.
  const elements = shape.reduce((product, size) => product * BigInt(size), 1n);
  if (elements * BigInt(bits) !== BigInt(end - begin) * 8n)
    throw bad(`shape ${show(shape)} of ${dtype} does not fill ${end - begin} bytes`);
  return Object.freeze({
    name,
    file,
    dtype,
    shape: Object.freeze([...shape]),
    start: dataStart + begin,
    end: dataStart + end,
  });
}

const isCounts = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((x) => Number.isSafeInteger(x) && x >= 0);

const invalid = (file: string, what: string) =>
  new KvCacheError("invalid-model", `${file} ${what}.`, {
    value: file,
    remedy: "Fetch the file again or convert the checkpoint anew.",
  });
