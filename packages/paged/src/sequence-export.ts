import {
  blocksFor,
  type CacheLayout,
  entryBytes,
  KvCacheError,
  type SequenceSlot,
} from "@kvcache/core";
import { type CacheState, takeBlock } from "./cache-state.ts";
import { createFrame, type FrameKind, malformed, openFrame } from "./framed-file.ts";
import { requireBlocks, spareBlocks } from "./reservations.ts";
import { openSequence } from "./sequences.ts";

const kind: FrameKind = { magic: "KVSQ", version: 1, what: "exported sequence" };

/** Bytes per token of a row beside its key and value: position, Σa, Σa². */
const sideBytes = 12;

interface ExportHeader {
  /** Canonical text of layout and ring size: only an equal cache can take the sequence. */
  readonly layout: string;
  readonly nextPosition: number;
  readonly windowLength: number;
  readonly isCompressed: boolean;
  /** [numRows]. */
  readonly lengths: readonly number[];
}

function layoutText({ shape, ...layout }: CacheLayout, windowSize: number): string {
  const { numLayers, numQueryHeads, numKvHeads, headDim } = shape;
  const entry = ({ dtype, width, metaBytes }: CacheLayout["arenas"][number]["key"]) => [
    dtype,
    width,
    metaBytes,
  ];
  return JSON.stringify([
    [numLayers, numQueryHeads, numKvHeads, headDim],
    layout.arenas.map((arena) => [arena.blockSize, entry(arena.key), entry(arena.value)]),
    layout.arenaOfLayer,
    layout.layerMap,
    layout.slidingWindow.map((window) => window ?? null),
    windowSize,
  ]);
}

/** Copies bytes between memory and the payload. */
type Copy = (memory: Uint8Array, start: number, count: number) => void;

const asBytes = ({ buffer, byteOffset, byteLength }: ArrayBufferView<ArrayBufferLike>) =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** Visits all memory of a sequence in one fixed order, for both directions. */
function walk(state: CacheState, sequence: SequenceSlot, windowLength: number, copy: Copy): void {
  const { host, blockSize, rows, numRows } = state;
  const sides = host.arenas.map((arena) =>
    [arena.positions, arena.sumAttention, arena.sumSquaredAttention].map(asBytes),
  );
  for (const r of rows) {
    const row = sequence * numRows + r;
    const arena = host.arenas[state.arenaOfRow[r]!]!;
    const keyBytes = entryBytes(arena.layout.key);
    const valueBytes = entryBytes(arena.layout.value);
    for (let start = 0, i = 0; start < host.lengths[row]!; start += blockSize, i++) {
      const count = Math.min(blockSize, host.lengths[row]! - start);
      const slot = host.blockTables[row * host.maxBlocksPerRow + i]! * blockSize;
      const byte = slot * (keyBytes + valueBytes);
      copy(arena.storage, byte, count * keyBytes);
      copy(arena.storage, byte + blockSize * keyBytes, count * valueBytes);
      for (const side of sides[state.arenaOfRow[r]!]!) copy(side, slot * 4, count * 4);
    }
  }
  const { numLayers, numQueryHeads, headDim } = host.layout.shape;
  const ring = asBytes(host.windowQueries);
  const width = numQueryHeads * headDim * 4;
  const next = host.nextPositions[sequence]!;
  for (let layer = 0; layer < numLayers; layer++)
    for (let position = next - windowLength; position < next; position++) {
      const at = (sequence * numLayers + layer) * host.windowSize + (position % host.windowSize);
      copy(ring, at * width, width);
    }
}

/** `to.set(from)` for a range; a loop where making views would cost more than the bytes. */
function copyBytes(from: Uint8Array, at: number, to: Uint8Array, start: number, n: number): void {
  if (n > 256) to.set(from.subarray(at, at + n), start);
  else for (let i = 0; i < n; i++) to[start + i] = from[at + i]!;
}

/** Payload of rows of these lengths: entries with positions and sums, then the window queries. */
function payloadBytes(state: CacheState, lengths: readonly number[], windowLength: number): number {
  const { arenas, layout } = state.host;
  let bytes =
    windowLength * layout.shape.numLayers * layout.shape.numQueryHeads * layout.shape.headDim * 4;
  for (const row of state.rows) {
    const { key, value } = arenas[state.arenaOfRow[row]!]!.layout;
    bytes += lengths[row]! * (entryBytes(key) + entryBytes(value) + sideBytes);
  }
  return bytes;
}

/** Everything a sequence holds, as one framed file. Block boundaries do not show in it. */
export function exportSequence(state: CacheState, sequence: SequenceSlot): Uint8Array {
  const { host, numRows } = state;
  const windowLength = state.windowLengths[sequence]!;
  const lengths = Array.from(host.lengths.subarray(sequence * numRows, (sequence + 1) * numRows));
  const header: ExportHeader = {
    layout: layoutText(host.layout, host.windowSize),
    nextPosition: host.nextPositions[sequence]!,
    windowLength,
    isCompressed: state.isCompressed[sequence] === 1,
    lengths,
  };
  const frame = createFrame(kind, header, payloadBytes(state, lengths, windowLength));
  let at = 0;
  walk(state, sequence, windowLength, (memory, start, count) => {
    copyBytes(memory, start, frame.payload, at, count);
    at += count;
  });
  return frame.seal();
}

function readHeader(state: CacheState, bytes: Uint8Array) {
  const { host, rows, numRows } = state;
  const { header, payload } = openFrame(kind, bytes);
  const { layout, nextPosition, windowLength, isCompressed, lengths } = header as ExportHeader;
  const wanted = layoutText(host.layout, host.windowSize);
  if (layout !== wanted)
    throw malformed(kind, `it was made for the layout ${layout}, this cache has ${wanted}`, layout);
  const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  const owned = new Set(rows);
  if (
    ![nextPosition, windowLength].every(isCount) ||
    windowLength > Math.min(host.windowSize, nextPosition) ||
    !Array.isArray(lengths) ||
    lengths.length !== numRows ||
    !lengths.every((length, row) => isCount(length) && (owned.has(row) || length === 0)) ||
    payload.length !== payloadBytes(state, lengths, windowLength)
  )
    throw malformed(kind, "its header does not fit its payload");
  return { nextPosition, windowLength, isCompressed: isCompressed === true, lengths, payload };
}

/**
 * Opens a sequence from exported bytes. Throws `invalid-file` when they are corrupt or made for
 * another layout, `context-length-exceeded` when a row is too long for this cache, `out-of-blocks`.
 */
export function importSequence(state: CacheState, bytes: Uint8Array): SequenceSlot {
  const { host, pools, rows, numRows, arenaOfRow, blockSize } = state;
  const { nextPosition, windowLength, isCompressed, lengths, payload } = readHeader(state, bytes);
  const longest = Math.max(0, ...lengths);
  if (longest > host.maxBlocksPerRow * blockSize)
    throw new KvCacheError(
      "context-length-exceeded",
      `The sequence has a row of ${longest} tokens, this cache keeps ${host.maxBlocksPerRow * blockSize}.`,
      { value: longest, remedy: "Create the cache with a larger maxTokensPerSequence." },
    );
  const needed = new Int32Array(pools.length);
  for (const row of rows) needed[arenaOfRow[row]!]! += blocksFor(lengths[row]!, blockSize);
  requireBlocks(needed, (arena) => spareBlocks(state, arena), "Importing this sequence");

  const sequence = openSequence(state);
  host.lengths.set(lengths, sequence * numRows);
  for (const row of rows) {
    const table = (sequence * numRows + row) * host.maxBlocksPerRow;
    for (let i = 0; i < blocksFor(lengths[row]!, blockSize); i++)
      host.blockTables[table + i] = takeBlock(state, arenaOfRow[row]!);
  }
  host.nextPositions[sequence] = nextPosition;
  state.windowLengths[sequence] = windowLength;
  state.isCompressed[sequence] = isCompressed ? 1 : 0;
  let at = 0;
  walk(state, sequence, windowLength, (memory, start, count) => {
    copyBytes(payload, at, memory, start, count);
    at += count;
  });
  return sequence;
}
