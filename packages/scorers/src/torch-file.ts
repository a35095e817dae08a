import { halvesToFloats, KvCacheError } from "@kvcache/core";
import { PickledCall, PickledGlobal, PickledReference, readPickle } from "./pickle.ts";
import { readStoredZip } from "./stored-zip.ts";
import type { FileTensor } from "./tensor-file.ts";

const bytesOf: Readonly<Record<string, number>> = {
  FloatStorage: 4,
  HalfStorage: 2,
  BFloat16Storage: 2,
};

/**
 * Reads the bytes of a file that `torch.save` wrote (PyTorch 1.6 and later): maps, lists and texts as
 * they are, F32, F16 and BF16 tensors as {@link FileTensor}. It runs no code of the file. Throws
 * `invalid-file`.
 */
export function readTorchFile(bytes: Uint8Array): unknown {
  const entries = readStoredZip(bytes);
  const pickled = [...entries.keys()].find((name) => /(^|\/)data\.pkl$/.test(name));
  if (pickled === undefined) throw malformed("it has no data.pkl");
  const folder = pickled.slice(0, -"data.pkl".length);
  return plain(readPickle(entries.get(pickled)!), (key) => {
    const data = entries.get(`${folder}data/${key}`);
    if (data) return data;
    throw malformed(`the numbers of storage ${key} are missing`);
  });
}

type Storage = (key: string) => Uint8Array;

/** The same with tensors in place of the calls that would build them. */
function plain(value: unknown, storage: Storage): unknown {
  if (Array.isArray(value)) return value.map((item) => plain(item, storage));
  if (value instanceof Map)
    return new Map([...value].map(([key, item]) => [key, plain(item, storage)]));
  if (!(value instanceof PickledCall)) return value;
  if (value.callable === "torch._utils _rebuild_parameter") return plain(value.args[0], storage);
  return value.callable === "torch._utils _rebuild_tensor_v2"
    ? tensorOf(value.args, storage)
    : value;
}

function tensorOf(args: readonly unknown[], storage: Storage): FileTensor {
  const [reference, offset, shape, strides] = args;
  const id = reference instanceof PickledReference && Array.isArray(reference.id) && reference.id;
  if (!id || typeof offset !== "number" || !isCounts(shape) || !isCounts(strides))
    throw malformed("a tensor is built in an unknown way");
  const [, type, key] = id;
  const kind = type instanceof PickledGlobal ? type.name.split(" ").at(-1)! : String(type);
  const width = bytesOf[kind];
  if (width === undefined) throw malformed(`a tensor is stored as ${kind}`);
  const all = numbersOf(storage(String(key)), kind, width);
  const count = shape.reduce((product, size) => product * size, 1);
  const data = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    let from = offset;
    for (let axis = shape.length - 1, rest = i; axis >= 0; axis--) {
      from += (rest % shape[axis]!) * strides[axis]!;
      rest = Math.floor(rest / shape[axis]!);
    }
    if (from >= all.length) throw malformed("a tensor runs past its storage");
    data[i] = all[from]!;
  }
  return { shape, data };
}

function numbersOf(bytes: Uint8Array, kind: string, width: number): Float32Array {
  const own = bytes.slice(0, Math.floor(bytes.length / width) * width).buffer;
  if (kind === "FloatStorage") return new Float32Array(own);
  const halves = new Uint16Array(own);
  const floats = new Float32Array(halves.length);
  if (kind === "HalfStorage") halvesToFloats(halves, floats);
  else new Uint32Array(floats.buffer).set(Uint32Array.from(halves, (bits) => bits << 16));
  return floats;
}

const isCounts = (value: unknown): value is readonly number[] =>
  Array.isArray(value) && value.every((x) => Number.isSafeInteger(x) && x >= 0);

const malformed = (what: string) =>
  new KvCacheError("invalid-file", `This is no PyTorch file that can be read: ${what}.`, {
    remedy: "Give the bytes of a file that torch.save wrote.",
  });
