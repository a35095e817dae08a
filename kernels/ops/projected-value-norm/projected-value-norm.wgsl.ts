import { groupSize, type WgslKernel } from "@kvcache/core";
import { rowDispatch } from "../../src/arena-rows.wgsl.ts";
import type { ProjectedValueNormParams } from "./projected-value-norm.ts";

const lanes = 64;

/** 64 tokens: every thread goes through all channels with its own value. */
const body = (group: number) => /* wgsl */ `
  if (row.layer != params.layer) { return; }
  let j = part * ${lanes}u + lane;
  if (j >= row.length) { return; }
  var value: array<vec4f, quads>;
  let at = valueOf(slotOf(row, j));
  for (var c = 0u; c < quads; c++) { value[c] = toQuad(blocks[at + c]); }
  var sum = 0.0;
  for (var channel = 0u; channel < params.hiddenSize; channel++) {
    for (var member = 0u; member < ${group}u; member++) {
      let column = channel * params.width + (row.head * ${group}u + member) * quads;
      var product = 0.0;
      for (var c = 0u; c < quads; c++) { product += dot(weight[column + c], value[c]); }
      sum += abs(product);
    }
  }
  norms[row.begin + j] = sum / ${group}.0;
`;

export const projectedValueNormWgsl: WgslKernel<ProjectedValueNormParams> = {
  record({ batch, layer, weight, hiddenSize, out }, recorder) {
    const own = recorder.batch(batch);
    const { numQueryHeads, headDim } = batch.shape;
    for (const arena of own.arenas)
      recorder.dispatch(
        rowDispatch(own, arena, {
          name: "projected-value-norm",
          size: lanes,
          perRow: Math.ceil(arena.longestRow / lanes),
          body: body(groupSize(batch.shape)),
          u32: { layer, hiddenSize, width: (numQueryHeads * headDim) / 4 },
          side: "none",
          blocks: true,
          reads: { weight: { buffer: weight, type: "vec4f" } },
          writes: { norms: { buffer: out, type: "f32" } },
        }),
      );
  },
};
