import {
  KvCacheError,
  type WeightDtype,
  type WeightSource,
  type WeightTensor,
} from "@kvcache/core";
import { show } from "../files/fields.ts";
import { folderFiles } from "../files/folder-files.ts";
import { MAX_JSON_BYTES, parseJsonObject } from "../files/json-file.ts";
import { type ModelFiles, missingFile, readIfPresent } from "../files/model-files.ts";
import { headerLength, parseHeader, type TensorEntry } from "./safetensors-header.ts";

/** The tensors of a model, in one file or in shards. */
export interface SafetensorsWeights extends WeightSource {
  /** All tensors by name, whether or not a decoder uses them. */
  readonly entries: ReadonlyMap<string, TensorEntry>;
  /** The first bytes of a tensor, at most `maxBytes`; reads no more than that. */
  sample(name: string, maxBytes: number): Uint8Array;
}

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";

const dtypes: ReadonlyMap<string, WeightDtype> = new Map([
  ["F32", "f32"],
  ["F16", "f16"],
  ["BF16", "bf16"],
]);

/** Throws `unsupported` for the format's other dtypes. */
export function weightDtype({ name, file, dtype: stored }: TensorEntry): WeightDtype {
  const dtype = dtypes.get(stored);
  if (dtype === undefined)
    throw new KvCacheError("unsupported", `Tensor ${name} in ${file} is stored as ${stored}.`, {
      value: stored,
      remedy: "Weights are read as F32, F16 or BF16.",
    });
  return dtype;
}

/**
 * Opens model.safetensors or, where there is none, the shards of model.safetensors.index.json.
 * Headers are read and checked now; tensor data when asked for, each time anew, so that a backend
 * which converts as it goes holds one tensor twice and not the whole model. (Without
 * `readRangeSync` each file is read once, ahead, and tensors are views of it.)
 */
export async function openSafetensors(source: string | ModelFiles): Promise<SafetensorsWeights> {
  const files = typeof source === "string" ? folderFiles(source) : source;
  const entries = await readEntries(files);
  const read = files.readRangeSync ?? (await readAhead(files, entries));
  const entryOf = (name: string): TensorEntry => {
    const entry = entries.get(name);
    if (entry === undefined)
      throw new KvCacheError("invalid-model", `Tensor ${name} is missing in ${files.name}.`, {
        value: name,
      });
    return entry;
  };
  return Object.freeze({
    entries,
    has: (name) => entries.has(name),
    get: (name): WeightTensor => {
      const entry = entryOf(name);
      const dtype = weightDtype(entry);
      const data = read(entry.file, entry.start, entry.end);
      // The format aligns nothing; typed arrays over the data need 4 bytes.
      return { dtype, shape: entry.shape, data: data.byteOffset % 4 === 0 ? data : data.slice() };
    },
    sample: (name, maxBytes) => {
      const { file, start, end } = entryOf(name);
      return read(file, start, Math.min(end, start + maxBytes));
    },
  } satisfies SafetensorsWeights);
}

async function readEntries(files: ModelFiles): Promise<Map<string, TensorEntry>> {
  if ((await files.size(SINGLE)) !== undefined) {
    const entries = await readFileEntries(files, SINGLE);
    return new Map(entries.map((entry) => [entry.name, entry]));
  }
  const index = await readIfPresent(files, INDEX, MAX_JSON_BYTES);
  if (index === undefined) throw missingFile(files.name, SINGLE);
  const shardOf = parseIndex(index);
  const shards = new Map<string, Map<string, TensorEntry>>();
  for (const shard of new Set(shardOf.values())) {
    const entries = await readFileEntries(files, shard);
    shards.set(shard, new Map(entries.map((entry) => [entry.name, entry])));
  }
  const entries = new Map<string, TensorEntry>();
  for (const [name, shard] of shardOf) {
    const entry = shards.get(shard)?.get(name);
    if (entry === undefined)
      throw new KvCacheError(
        "invalid-model",
        `${INDEX} puts ${name} in ${shard}, which lacks it.`,
        {
          value: name,
        },
      );
    entries.set(name, entry);
  }
  return entries;
}

/** Tensor name → shard. A shard is a plain name: an index cannot make us open anything else. */
function parseIndex(bytes: Uint8Array): Map<string, string> {
  const { weight_map: map } = parseJsonObject(bytes, INDEX);
  const bad = (what: string, value: unknown) =>
    new KvCacheError("invalid-model", `${INDEX}: ${what}.`, { value });
  if (typeof map !== "object" || map === null || Array.isArray(map))
    throw bad("weight_map must be an object from tensor names to file names", map);
  const shardOf = new Map<string, string>();
  for (const [name, shard] of Object.entries(map)) {
    if (typeof shard !== "string" || !/^[\w][\w.+-]*\.safetensors$/.test(shard))
      throw bad(
        `weight_map puts ${name} in ${show(shard)}, not a .safetensors file of the folder`,
        shard,
      );
    shardOf.set(name, shard);
  }
  return shardOf;
}

async function readFileEntries(files: ModelFiles, file: string): Promise<TensorEntry[]> {
  const bytes = await files.size(file);
  if (bytes === undefined) throw missingFile(files.name, file);
  const length = headerLength(await files.readRange(file, 0, Math.min(8, bytes)), file, bytes);
  return parseHeader(await files.readRange(file, 8, 8 + length), file, bytes);
}

async function readAhead(files: ModelFiles, entries: ReadonlyMap<string, TensorEntry>) {
  const contents = new Map<string, Uint8Array>();
  for (const { file } of entries.values())
    if (!contents.has(file)) contents.set(file, await files.read(file));
  return (file: string, start: number, end: number) => contents.get(file)!.subarray(start, end);
}
