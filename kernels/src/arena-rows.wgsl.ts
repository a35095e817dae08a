import type { StorageDtype, WgslArena, WgslBatch, WgslDispatch } from "@kvcache/core";
import { type QuadDtype, quadCode, quadType } from "./quads.ts";
import { threads } from "./wgsl-thread.ts";

/** What a dispatch over the rows of one arena brings beside what this file adds. */
export interface ArenaDispatch extends Omit<WgslDispatch, "workgroups" | "code"> {
  /** How `side` (positions and sums) is bound; "none" where nothing needs it. */
  readonly side: "read" | "write" | "none";
  /** Whether `blocks` (keys and values) is bound. */
  readonly blocks?: boolean;
  /** WGSL declarations in front of `body`. */
  readonly declarations?: string;
  /** Structure of the code, see the functions below. */
  readonly body: string;
}

const numberTypes: Partial<Record<StorageDtype, QuadDtype>> = { f32: "f32", f16: "f16" };

/** How an arena stores its numbers; what the device's cache has checked. */
export const quadDtypeOf = ({ layout }: WgslArena): QuadDtype => numberTypes[layout.key.dtype]!;

/**
 * WGSL: `Row`, `rowOf(r)`, `slotOf(row, j)` (index into `side`) and, with blocks, `keyOf(slot)` and
 * `valueOf(slot)`, the first quad of an entry in `blocks`.
 */
function arenaCode(arena: WgslArena, blocks: boolean): string {
  const { blockSize, key } = arena.layout;
  return /* wgsl */ `
${blocks ? quadCode(quadDtypeOf(arena)) : ""}
const blockSize = ${blockSize}u;
const quads = ${key.width / 4}u;
struct Row {
  begin: u32, length: u32, table: u32, index: u32,
  sequence: u32, layer: u32, head: u32, slot: u32,
}
fn rowOf(r: u32) -> Row {
  let at = 8u * r;
  return Row(rows[at], rows[at + 1u] - rows[at], rows[at + 2u], rows[at + 3u],
    rows[at + 4u], rows[at + 5u], rows[at + 6u], rows[at + 7u]);
}
fn slotOf(row: Row, j: u32) -> u32 {
  return u32(tables[row.table * params.maxBlocksPerRow + j / blockSize]) * blockSize + j % blockSize;
}
fn keyOf(slot: u32) -> u32 {
  return (slot / blockSize * 2u * blockSize + slot % blockSize) * quads;
}
fn valueOf(slot: u32) -> u32 { return keyOf(slot) + blockSize * quads; }
`;
}

const header = (size: number) => /* wgsl */ `
@compute @workgroup_size(${size})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let work = workgroupIndex(id, groups);
`;

function arenaDispatch(
  { tables, maxBlocksPerRow }: WgslBatch,
  arena: WgslArena,
  { side, blocks = false, declarations = "", body, ...dispatch }: ArenaDispatch,
  main: string,
  workgroups: number,
): WgslDispatch {
  const sides = { side: { buffer: arena.side, type: "u32" } };
  return {
    ...dispatch,
    code: `${arenaCode(arena, blocks)}${declarations}${main}${body}}\n`,
    u32: { numRows: arena.numRows, maxBlocksPerRow, ...dispatch.u32 },
    reads: {
      rows: { buffer: arena.rows, type: "u32" },
      tables: { buffer: tables, type: "i32" },
      ...(side === "read" && sides),
      ...(blocks && { blocks: { buffer: arena.storage, type: quadType(quadDtypeOf(arena)) } }),
      ...dispatch.reads,
    },
    writes: { ...(side === "write" && sides), ...dispatch.writes },
    workgroups,
  };
}

/** A thread per slot: `body` knows `row` and `j`, and may return. */
export function slotDispatch(
  batch: WgslBatch,
  arena: WgslArena,
  dispatch: ArenaDispatch,
): WgslDispatch {
  const tilesPerRow = Math.ceil(arena.longestRow / threads);
  const main = /* wgsl */ `${header(threads)}
  let r = work / params.tilesPerRow;
  if (r >= params.numRows) { return; }
  let row = rowOf(r);
  let j = work % params.tilesPerRow * ${threads}u + lane;
  if (j >= row.length) { return; }
`;
  const numbers = { ...dispatch, u32: { tilesPerRow, ...dispatch.u32 } };
  return arenaDispatch(batch, arena, numbers, main, arena.numRows * tilesPerRow);
}

/**
 * `perRow` workgroups of `size` threads per row: `body` knows `row`, `part` (of `params.perRow`) and
 * `lane`. All threads of a workgroup see the same row, so barriers are allowed.
 */
export function rowDispatch(
  batch: WgslBatch,
  arena: WgslArena,
  { size = threads, perRow = 1, ...dispatch }: ArenaDispatch & { size?: number; perRow?: number },
): WgslDispatch {
  const main = /* wgsl */ `${header(size)}
  let r = work / params.perRow;
  if (r >= params.numRows) { return; }
  let row = rowOf(r);
  let part = work % params.perRow;
`;
  const numbers = { ...dispatch, u32: { perRow, ...dispatch.u32 } };
  return arenaDispatch(batch, arena, numbers, main, arena.numRows * perRow);
}
