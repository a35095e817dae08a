import type { WgslDispatch } from "@kvcache/core";
import { forEachCode, workgroupsFor } from "../../src/wgsl-thread.ts";
import type { DeviceAttention } from "./device-attention.ts";

const code = forEachCode(/* wgsl */ `
  let vector = i / params.quads;
  let vectors = params.count / params.quads;
  var largest = -3.0e38;
  for (var s = 0u; s < params.numSplits; s++) {
    largest = max(largest, partialStats[s * vectors + vector].x);
  }
  var total = 0.0;
  var sum = vec4f();
  for (var s = 0u; s < params.numSplits; s++) {
    let part = partialStats[s * vectors + vector];
    let factor = exp(part.x - largest);
    total += part.y * factor;
    sum += partials[s * params.count + i] * factor;
  }
  out[i] = sum / total;
  if (i % params.quads == 0u) { stats[vector] = vec2f(largest, total); }
`);

/** Joins the parts of each row; every query sees at least its own token. */
export function mergeSplitsWgsl(params: DeviceAttention): WgslDispatch {
  const { numTokens, numQueryHeads, headDim, numSplits } = params;
  const quads = headDim / 4;
  const count = numTokens * numQueryHeads * quads;
  return {
    name: "merge-splits",
    code,
    u32: { count, quads, numSplits },
    reads: {
      partials: { buffer: params.partials, type: "vec4f" },
      partialStats: { buffer: params.partialStats, type: "vec2f" },
    },
    writes: {
      out: { buffer: params.out, type: "vec4f" },
      stats: { buffer: params.stats, type: "vec2f" },
    },
    workgroups: workgroupsFor(count),
  };
}
