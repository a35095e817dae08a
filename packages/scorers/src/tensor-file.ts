import { floatsToHalves, halvesToFloats, KvCacheError } from "@kvcache/core";

export interface FileTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** A safetensors file in memory, its tensors as f32. */
export interface TensorFile {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, FileTensor>;
}

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

const bytesOf: Readonly<Record<string, number>> = { F32: 4, F16: 2, BF16: 2 };
const lengthBytes = 8;

/**
 * Reads the bytes of a safetensors file whose tensors are F32, F16 or BF16. Throws `invalid-file`
 * when it is anything else.
 */
export function readTensorFile(bytes: Uint8Array): TensorFile {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerBytes = bytes.length < lengthBytes ? 0n : view.getBigUint64(0, true);
  if (headerBytes < 2n || headerBytes > BigInt(bytes.length - lengthBytes))
    throw malformed(`it has ${bytes.length} bytes and no header`);
  const start = lengthBytes + Number(headerBytes);
  const header = parse(bytes.subarray(lengthBytes, start));
  const tensors = new Map<string, FileTensor>();
  let metadata: Record<string, string> = {};
  for (const [name, entry] of Object.entries(header))
    if (name === "__metadata__") metadata = entry as Record<string, string>;
    else tensors.set(name, tensorAt(name, entry as Entry, bytes.subarray(start)));
  return { metadata, tensors };
}

function tensorAt(name: string, entry: Entry, data: Uint8Array): FileTensor {
  const { dtype, shape, data_offsets: offsets } = entry ?? {};
  const width = bytesOf[dtype];
  if (width === undefined) throw malformed(`tensor ${name} is ${dtype}, not F32, F16 or BF16`);
  if (!(isCounts(shape) && isCounts(offsets) && offsets.length === 2))
    throw malformed(`tensor ${name} lacks its shape or offsets`);
  const count = shape.reduce((product, size) => product * size, 1);
  const [from, to] = offsets;
  if (to - from !== width * count || to > data.length)
    throw malformed(`tensor ${name} of shape [${shape}] does not fill bytes ${from} to ${to}`);
  // A copy: slice of a Buffer is none.
  const own = new Uint8Array(data.subarray(from, to)).buffer;
  if (dtype === "F32") return { shape, data: new Float32Array(own) };
  const floats = new Float32Array(count);
  const halves = new Uint16Array(own);
  if (dtype === "F16") halvesToFloats(halves, floats);
  else new Uint32Array(floats.buffer).set(Uint32Array.from(halves, (bits) => bits << 16));
  return { shape, data: floats };
}

/**
 * The bytes of a safetensors file of F32 tensors, or F16 at half the size; its data begins at a
 * multiple of 8 bytes. Throws `invalid-argument` for numbers that F16 cannot hold.
 */
export function writeTensorFile(
  { metadata, tensors }: TensorFile,
  dtype: "F32" | "F16" = "F32",
): Uint8Array {
  const parts = new Map(
    [...tensors].map(([name, { data }]) => [name, dtype === "F32" ? data : asHalves(name, data)]),
  );
  const header: Record<string, unknown> = { __metadata__: metadata };
  let end = 0;
  for (const [name, { shape }] of tensors) {
    const size = parts.get(name)!.byteLength;
    header[name] = { dtype, shape, data_offsets: [end, end + size] };
    end += size;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const start = lengthBytes + Math.ceil(text.length / 8) * 8;
  const bytes = new Uint8Array(start + end).fill(0x20, lengthBytes, start);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(start - lengthBytes), true);
  bytes.set(text, lengthBytes);
  let at = start;
  for (const data of parts.values()) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}

function asHalves(name: string, data: Float32Array): Uint16Array {
  const halves = new Uint16Array(data.length);
  floatsToHalves(data, halves);
  const wide = data.findIndex((x, i) => Number.isFinite(x) && (halves[i]! & 0x7fff) === 0x7c00);
  if (wide >= 0)
    throw new KvCacheError("invalid-argument", `${name} holds ${data[wide]}, too large for F16.`, {
      value: data[wide],
      remedy: "Write F32.",
    });
  return halves;
}

function parse(bytes: Uint8Array): Record<string, unknown> {
  try {
    const header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (typeof header === "object" && header !== null && !Array.isArray(header)) return header;
  } catch (cause) {
    throw malformed("its header is not JSON", cause);
  }
  throw malformed("its header is not an object");
}

const isCounts = (value: unknown): value is readonly number[] =>
  Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);

const malformed = (what: string, cause?: unknown) =>
  new KvCacheError("invalid-file", `This is no file of weights or statistics: ${what}.`, {
    cause,
    remedy: "Give the bytes of a safetensors file.",
  });
