import { signalFlag, type WgslDispatch } from "@kvcache/core";
import { quadCode, quadType } from "../../src/quads.ts";
import { type DeviceAttention, logitCode, logitParams, rowCode } from "./device-attention.ts";

const lanes = 64;

/*
 * One thread per cached slot adds up what all new queries pay to it, with the maxima and sums that
 * attention left behind: no two threads write the same slot, so the order of additions is fixed.
 */
const code = (params: DeviceAttention): string => /* wgsl */ `
${quadCode(params.dtype)}
${rowCode(params)}
${logitCode(params)}
const groupSize = ${params.numQueryHeads / params.numKvHeads}u;

@compute @workgroup_size(${lanes})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let work = workgroupIndex(id, groups);
  let j = work % params.numChunks * ${lanes}u + lane;
  let head = work / params.numChunks % ${params.numKvHeads}u;
  let s = work / (params.numChunks * ${params.numKvHeads}u);
  if (s >= params.numSequences) { return; }
  let flags = step[params.signalFlags + s];
  if ((flags & ${signalFlag.sumAttention | signalFlag.sumSquaredAttention}) == 0) { return; }
  let row = u32(step[params.sequences + s]) * ${params.rowsPerSequence}u + params.layerRow + head;
  let length = rowLength(row);
  if (j >= length) { return; }
  let begin = u32(step[params.cuTokens + s]);
  let end = u32(step[params.cuTokens + s + 1u]);
  let older = length - (end - begin);
  let slot = slotOf(row, j);
  let position = bitcast<i32>(side[slot]);
  let buffer = step[params.attentionBuffers + s];
  var sum = 0.0;
  var squares = 0.0;
  let firstToken = begin + u32(max(0, i32(j) - i32(older)));
  for (var token = firstToken; token < end; token++) {
    let distance = step[params.positions + token] - position;
    if (distance < buffer${params.slidingWindow === undefined ? "" : " || distance >= params.slidingWindow"}) { continue; }
    for (var member = 0u; member < groupSize; member++) {
      let vector = token * ${params.numQueryHeads}u + head * groupSize + member;
      var product = 0.0;
      for (var d = 0u; d < quads; d++) {
        product += dot(query[vector * quads + d], toQuad(blocks[keyOf(slot) + d]));
      }
      let weight = exp(logitOf(product) - stats[vector].x) / stats[vector].y;
      sum += weight;
      squares += weight * weight;
    }
  }
  let at = params.numSlots + slot;
  if ((flags & ${signalFlag.sumAttention}) != 0) {
    side[at] = bitcast<u32>(bitcast<f32>(side[at]) + sum);
  }
  if ((flags & ${signalFlag.sumSquaredAttention}) != 0) {
    side[at + params.numSlots] = bitcast<u32>(bitcast<f32>(side[at + params.numSlots]) + squares);
  }
}
`;

/** Adds the step's attention to the sums of the slots of sequences whose flags ask for it. */
export function addAttentionWgsl(params: DeviceAttention, longestRow: number): WgslDispatch {
  const { sections, slidingWindow } = params;
  const numChunks = Math.ceil(longestRow / lanes);
  return {
    name: "add-attention",
    code: code(params),
    u32: {
      numSequences: params.numSequences,
      numChunks,
      layerRow: params.layerRow,
      lengthsAt: params.lengthsAt,
      maxBlocksPerRow: params.maxBlocksPerRow,
      numSlots: params.numSlots,
      signalFlags: sections.signalFlags,
      sequences: sections.sequences,
      cuTokens: sections.cuTokens,
      positions: sections.positions,
      attentionBuffers: sections.attentionBuffers,
    },
    ...(slidingWindow !== undefined && { i32: { slidingWindow } }),
    f32: logitParams(params),
    reads: {
      step: { buffer: params.step, type: "i32" },
      tables: { buffer: params.tables, type: "i32" },
      blocks: { buffer: params.storage, type: quadType(params.dtype) },
      query: { buffer: params.query, type: "vec4f" },
      stats: { buffer: params.stats, type: "vec2f" },
    },
    writes: { side: { buffer: params.side, type: "u32" } },
    workgroups: params.numSequences * params.numKvHeads * numChunks,
  };
}
