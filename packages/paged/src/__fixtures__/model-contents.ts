import { type HostArena, type HostCache, halfToFloat } from "@kvcache/core";
import type { PagedCache } from "../paged-cache.ts";
import {
  arenaOf,
  blockSize,
  fail,
  numRows,
  number,
  ownedRows,
  type Sequence,
  windowSize,
} from "./model-sequence.ts";

/*
 * Writes and reads the memory of a cache as the comments of HostCache describe it, with no help from
 * the package.
 */

/** What a forward pass does: writes entries, sums and window queries from `position` on. */
export function writeForward(host: HostCache, sequence: Sequence, position: number): void {
  const next = sequence.tokens.length;
  for (const row of ownedRows) {
    const length = sequence.rows.get(row)!.size;
    for (let p = position; p < next; p++) {
      const { arena, slot } = placeOf(host, sequence, row, length - (next - p));
      if (arena.positions[slot] !== p) fail(`slot has position ${arena.positions[slot]}, not ${p}`);
      if (arena.sumAttention[slot] || arena.sumSquaredAttention[slot]) fail("sums are not zeroed");
      for (let i = 0; i < 6; i++)
        setNumber(row, arena, slot, i, number(sequence.hashes[p]!, row, i));
    }
  }
  for (let p = position; p < next; p++) {
    sequence.queries.add(p);
    sequence.queries.delete(p - windowSize);
    for (let layer = 0; layer < 4; layer++)
      for (let i = 0; i < 8; i++)
        host.windowQueries[ringAt(sequence, layer, p) + i] = number(
          sequence.hashes[p]!,
          100 + layer,
          i,
        );
  }
}

const ringAt = (sequence: Sequence, layer: number, p: number) =>
  ((sequence.slot * 4 + layer) * windowSize + (p % windowSize)) * 8;

/** Where slot j of a row stands. */
export function placeOf(host: HostCache, sequence: Sequence, row: number, j: number) {
  const at = (sequence.slot * numRows + row) * host.maxBlocksPerRow;
  const block = host.blockTables[at + Math.floor(j / blockSize)]!;
  if (block < 0) fail(`row ${row} has no block for slot ${j}`);
  return { arena: host.arenas[arenaOf(row)]!, slot: block * blockSize + (j % blockSize) };
}

/** Number i of an entry: 0 … 1 key, 2 … 3 value, 4 … 5 sums. */
function viewOf(row: number, arena: HostArena, slot: number, i: number) {
  const size = arenaOf(row) === 0 ? 4 : 2;
  const block = Math.floor(slot / blockSize);
  const side = i < 2 ? 0 : 1;
  const at = (block * 2 + side) * blockSize * 2 + (slot % blockSize) * 2 + (i & 1);
  const { buffer, byteOffset } = arena.storage;
  return size === 4
    ? { data: new Float32Array(buffer, byteOffset), at }
    : { data: new Uint16Array(buffer, byteOffset), at };
}

function setNumber(row: number, arena: HostArena, slot: number, i: number, x: number) {
  if (i === 4) arena.sumAttention[slot] = x;
  else if (i === 5) arena.sumSquaredAttention[slot] = x;
  else {
    const { data, at } = viewOf(row, arena, slot, i);
    data[at] = data instanceof Float32Array ? x : halfOf(x);
  }
}

function numberAt(row: number, arena: HostArena, slot: number, i: number): number {
  if (i === 4) return arena.sumAttention[slot]!;
  if (i === 5) return arena.sumSquaredAttention[slot]!;
  const { data, at } = viewOf(row, arena, slot, i);
  return data instanceof Float32Array ? data[at]! : halfToFloat(data[at]!);
}

/** Compares everything a sequence holds with the model. */
export function checkSequence(cache: PagedCache, sequence: Sequence): void {
  const { host } = cache;
  const next = sequence.tokens.length;
  if (host.nextPositions[sequence.slot] !== next) fail("wrong next position");
  if (cache.windowLength(sequence.slot) !== sequence.queries.size) fail("wrong window length");
  for (const p of sequence.queries)
    for (let layer = 0; layer < 4; layer++)
      for (let i = 0; i < 8; i++)
        if (
          host.windowQueries[ringAt(sequence, layer, p) + i] !==
          number(sequence.hashes[p]!, 100 + layer, i)
        )
          fail(`window query of position ${p} is wrong`);
  for (let row = 0; row < numRows; row++) {
    const wanted = sequence.rows.get(row) ?? new Set();
    if (host.lengths[sequence.slot * numRows + row] !== wanted.size)
      fail(`row ${row} has the wrong length`);
    const seen = new Set<number>();
    for (let j = 0; j < wanted.size; j++) {
      const { arena, slot } = placeOf(host, sequence, row, j);
      const p = arena.positions[slot]!;
      if (!wanted.has(p)) fail(`row ${row} should not hold position ${p}`);
      seen.add(p);
      for (let i = 0; i < 6; i++)
        if (numberAt(row, arena, slot, i) !== number(sequence.hashes[p]!, row, i))
          fail(`row ${row}, position ${p}: number ${i} is wrong`);
    }
    if (seen.size !== wanted.size) fail(`row ${row} holds a position twice`);
  }
}

/** Half of a small non-negative integer, from its definition. */
function halfOf(x: number): number {
  if (x === 0) return 0;
  const exponent = 31 - Math.clz32(x);
  return ((exponent + 15) << 10) | ((x << (10 - exponent)) & 1023);
}
