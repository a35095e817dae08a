import { signalFlag, type WgslDispatch } from "@kvcache/core";
import { forEachCode, workgroupsFor } from "../../src/wgsl-thread.ts";
import type { DeviceAttention } from "./device-attention.ts";

const code = forEachCode(/* wgsl */ `
  let token = i / params.width;
  let s = u32(step[params.tokenSequences + token]);
  let end = u32(step[params.cuTokens + s + 1u]);
  let wanted = (step[params.signalFlags + s] & ${signalFlag.windowQueries}) != 0;
  if (!wanted || token + params.windowSize < end) { return; }
  let ring = (u32(step[params.sequences + s]) * params.numLayers + params.layer) * params.windowSize
    + u32(step[params.positions + token]) % params.windowSize;
  windowQueries[ring * params.width + i % params.width] = query[i];
`);

/** Copies each sequence's last windowSize queries to the ring, where its flags ask for it. */
export function keepQueriesWgsl(params: DeviceAttention): WgslDispatch {
  const { sections, numTokens, numQueryHeads, headDim } = params;
  const width = (numQueryHeads * headDim) / 4;
  return {
    name: "keep-queries",
    code,
    u32: {
      count: numTokens * width,
      width,
      windowSize: params.windowSize,
      numLayers: params.numLayers,
      layer: params.layer,
      tokenSequences: sections.tokenSequences,
      cuTokens: sections.cuTokens,
      sequences: sections.sequences,
      positions: sections.positions,
      signalFlags: sections.signalFlags,
    },
    reads: {
      step: { buffer: params.step, type: "i32" },
      query: { buffer: params.query, type: "vec4f" },
    },
    writes: { windowQueries: { buffer: params.windowQueries, type: "vec4f" } },
    workgroups: workgroupsFor(numTokens * width),
  };
}
