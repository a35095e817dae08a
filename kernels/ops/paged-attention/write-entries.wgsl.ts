import type { WgslDispatch } from "@kvcache/core";
import { quadCode, quadType } from "../../src/quads.ts";
import { forEachCode, workgroupsFor } from "../../src/wgsl-thread.ts";
import { type DeviceAttention, rowCode } from "./device-attention.ts";

/** Writes a step's keys, values and positions to their slots and makes their sums 0. */
export function writeEntriesWgsl(params: DeviceAttention): WgslDispatch {
  const { sections, numTokens, numKvHeads, headDim, dtype } = params;
  const code = /* wgsl */ `
${quadCode(dtype)}
${rowCode(params)}
${forEachCode(/* wgsl */ `
  let c = i % quads;
  let head = i / quads % ${numKvHeads}u;
  let token = i / (quads * ${numKvHeads}u);
  let s = u32(step[params.tokenSequences + token]);
  let row = u32(step[params.sequences + s]) * ${params.rowsPerSequence}u + params.layerRow + head;
  let end = u32(step[params.cuTokens + s + 1u]);
  let slot = slotOf(row, rowLength(row) - end + token);
  blocks[keyOf(slot) + c] = fromQuad(key[i]);
  blocks[keyOf(slot) + blockSize * quads + c] = fromQuad(value[i]);
  if (c == 0u) {
    side[slot] = u32(step[params.positions + token]);
    side[params.numSlots + slot] = 0u;
    side[2u * params.numSlots + slot] = 0u;
  }
`)}`;
  const count = numTokens * numKvHeads * (headDim / 4);
  return {
    name: "write-entries",
    code,
    u32: {
      count,
      layerRow: params.layerRow,
      lengthsAt: params.lengthsAt,
      maxBlocksPerRow: params.maxBlocksPerRow,
      numSlots: params.numSlots,
      tokenSequences: sections.tokenSequences,
      sequences: sections.sequences,
      cuTokens: sections.cuTokens,
      positions: sections.positions,
    },
    reads: {
      step: { buffer: params.step, type: "i32" },
      tables: { buffer: params.tables, type: "i32" },
      key: { buffer: params.key, type: "vec4f" },
      value: { buffer: params.value, type: "vec4f" },
    },
    writes: {
      blocks: { buffer: params.storage, type: quadType(dtype) },
      side: { buffer: params.side, type: "u32" },
    },
    workgroups: workgroupsFor(count),
  };
}
