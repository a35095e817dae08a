import {
  blockBytes,
  entryBytes,
  floatsToHalves,
  type HostArena,
  halvesToFloats,
  KvCacheError,
} from "@kvcache/core";

/** Reads and writes one side (keys or values) of an arena's blocks as float32. */
export interface EntryStore {
  /** Numbers per token. */
  readonly width: number;
  /** Copies the first `count` tokens of a block to out[at …], [count, width]. */
  readBlock(block: number, count: number, out: Float32Array, at: number): void;
  /** Stores source[at … at + width) as the token at `offset` of a block. */
  write(block: number, offset: number, source: Float32Array, at: number): void;
}

/** Throws `unsupported` for an entry that is not plain f32 or f16, or storage that is unaligned. */
export function entryStore(arena: HostArena, side: "key" | "value"): EntryStore {
  const { layout, storage } = arena;
  const { dtype, width, metaBytes } = layout[side];
  if ((dtype !== "f32" && dtype !== "f16") || metaBytes !== 0)
    throw new KvCacheError("unsupported", `Attention cannot read ${side}s stored as ${dtype}.`, {
      value: layout[side],
      remedy: "Store keys and values as f32 or f16.",
    });
  const bytes = dtype === "f32" ? 4 : 2;
  const blockStride = blockBytes(layout);
  const sideOffset = side === "key" ? 0 : layout.blockSize * entryBytes(layout.key);
  if ((storage.byteOffset | blockStride | sideOffset) % bytes !== 0)
    throw new KvCacheError(
      "unsupported",
      `The arena's ${side}s are not aligned to ${bytes} bytes.`,
      {
        value: { byteOffset: storage.byteOffset, blockStride, sideOffset },
        remedy: "Use an even block size, or one dtype for keys and values.",
      },
    );
  const numbers = Math.floor(storage.byteLength / bytes);
  const start = (block: number) => (block * blockStride + sideOffset) / bytes;

  if (dtype === "f32") {
    const memory = new Float32Array(storage.buffer, storage.byteOffset, numbers);
    return {
      width,
      readBlock(block, count, out, at) {
        const from = start(block);
        out.set(memory.subarray(from, from + count * width), at);
      },
      write(block, offset, source, at) {
        memory.set(source.subarray(at, at + width), start(block) + offset * width);
      },
    };
  }
  const memory = new Uint16Array(storage.buffer, storage.byteOffset, numbers);
  return {
    width,
    readBlock(block, count, out, at) {
      const from = start(block);
      halvesToFloats(memory.subarray(from, from + count * width), out.subarray(at));
    },
    write(block, offset, source, at) {
      const to = start(block) + offset * width;
      floatsToHalves(source.subarray(at, at + width), memory.subarray(to, to + width));
    },
  };
}
