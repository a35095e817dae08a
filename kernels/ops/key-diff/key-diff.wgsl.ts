import type { WgslKernel } from "@kvcache/core";
import { rowDispatch, slotDispatch } from "../../src/arena-rows.wgsl.ts";
import type { KeyDiffParams } from "./key-diff.ts";

const lanes = 64;
const keysPerPart = 512;

/** Sum of the unit keys of a part of a row: a thread per key finds its length, then one per quad. */
const sumCode = /* wgsl */ `
  let perPart = (row.length + params.perRow - 1u) / params.perRow;
  let end = min(row.length, (part + 1u) * perPart);
  var sum = vec4f();
  for (var first = part * perPart; first < end; first += ${lanes}u) {
    workgroupBarrier();
    if (first + lane < end) {
      let at = keyOf(slotOf(row, first + lane));
      var squares = 0.0;
      for (var c = 0u; c < quads; c++) {
        let key = toQuad(blocks[at + c]);
        squares += dot(key, key);
      }
      keysAt[lane] = at;
      inverses[lane] = select(0.0, 1.0 / sqrt(squares), squares > 0.0);
    }
    workgroupBarrier();
    if (lane < quads) {
      for (var k = 0u; k < min(${lanes}u, end - first); k++) {
        sum += inverses[k] * toQuad(blocks[keysAt[k] + lane]);
      }
    }
  }
  if (lane < quads) { sums[(row.index * params.perRow + part) * quads + lane] = sum; }
`;

const scoreCode = /* wgsl */ `
  let at = keyOf(slotOf(row, j));
  var product = 0.0;
  var squares = 0.0;
  var length = 0.0;
  for (var c = 0u; c < quads; c++) {
    var mean = vec4f();
    for (var part = 0u; part < params.parts; part++) {
      mean += sums[(row.index * params.parts + part) * quads + c];
    }
    let key = toQuad(blocks[at + c]);
    product += dot(key, mean);
    squares += dot(key, key);
    length += dot(mean, mean);
  }
  let divisor = sqrt(squares) * sqrt(length);
  scores[row.begin + j] = select(0.0, -product / divisor, divisor > 0.0);
`;

export const keyDiffWgsl: WgslKernel<KeyDiffParams> = {
  record({ batch, out }, recorder) {
    const own = recorder.batch(batch);
    const { headDim } = batch.shape;
    for (const arena of own.arenas) {
      const parts = Math.max(1, Math.ceil(arena.longestRow / keysPerPart));
      const sums = recorder.tensor("f32", batch.numRows * parts * headDim);
      const shared = { side: "none", blocks: true } as const;
      recorder.dispatch(
        rowDispatch(own, arena, {
          ...shared,
          name: "key-diff, sums",
          size: lanes,
          perRow: parts,
          declarations: `
var<workgroup> keysAt: array<u32, ${lanes}>;
var<workgroup> inverses: array<f32, ${lanes}>;
`,
          body: sumCode,
          reads: {},
          writes: { sums: { buffer: sums, type: "vec4f" } },
        }),
      );
      recorder.dispatch(
        slotDispatch(own, arena, {
          ...shared,
          name: "key-diff",
          body: scoreCode,
          u32: { parts },
          reads: { sums: { buffer: sums, type: "vec4f" } },
          writes: { scores: { buffer: out, type: "f32" } },
        }),
      );
    }
  },
};
