import type { DecoderGraph, GraphNode, WgslDispatch } from "@kvcache/core";
import {
  addWgsl,
  embedWgsl,
  gatedActivationWgsl,
  gatherWgsl,
  linearWgsl,
  logitsWgsl,
  mostSplits,
  pagedAttentionWgsl,
  rmsNormWgsl,
  ropeWgsl,
} from "@kvcache/kernels";
import type { DeviceStep } from "./device-step.ts";
import type { DeviceWeights } from "./device-weights.ts";
import type { GpuMemory } from "./gpu-memory.ts";
import type { Scratch } from "./scratch.ts";
import type { ValueSlot } from "./value-slots.ts";
import type { DeviceCache } from "./webgpu-cache.ts";

/** What all nodes of a pass look at. */
export interface Pass {
  readonly graph: DecoderGraph;
  readonly weights: DeviceWeights;
  readonly device: DeviceCache;
  readonly step: DeviceStep;
  readonly scratch: Scratch;
  readonly maxBytes: number;
}

/** A value: its memory, and how many rows of how many numbers it has in this pass. */
export interface Value extends ValueSlot {
  readonly memory: GpuMemory;
  readonly numRows: number;
}

/** The dispatches of one node, in order. */
export function dispatchesOf(
  node: GraphNode,
  pass: Pass,
  out: Value,
  inputs: readonly Value[],
): readonly WgslDispatch[] {
  const { graph, weights, step, device } = pass;
  const [a, b] = inputs;
  const count = out.numRows * out.width;
  switch (node.op) {
    case "embed":
      return weights.table(node.weight).map((part) =>
        embedWgsl({
          ...part,
          width: graph.hiddenSize,
          scale: node.scale,
          ids: step.memory,
          idsAt: step.sections.tokenIds,
          numTokens: step.numTokens,
          out: out.memory,
        }),
      );
    case "rmsNorm": {
      const weight = weights.vector(node.weight);
      const width = weight.length;
      const { epsilon, unitOffset } = node;
      return [
        rmsNormWgsl({
          input: a!.memory,
          weight,
          out: out.memory,
          numRows: count / width,
          width,
          epsilon,
          unitOffset,
        }),
      ];
    }
    case "linear":
      return weights.matrix(node.weight).map((part) =>
        linearWgsl({
          ...part,
          input: a!.memory,
          bias: node.bias && weights.vector(node.bias),
          out: out.memory,
          numTokens: out.numRows,
          inFeatures: node.inFeatures,
          outFeatures: node.outFeatures,
          subgroups: device.gpu.tier !== "T0",
        }),
      );
    case "rope":
      return [
        ropeWgsl({
          input: a!.memory,
          out: out.memory,
          tables: step.ropes,
          ...step.ropeAt[node.table]!,
          numTokens: step.numTokens,
          numHeads: node.numHeads,
          headDim: graph.shape.headDim,
        }),
      ];
    case "pagedAttention":
      return attention(node, pass, out, inputs);
    case "gatedActivation": {
      const { activation } = node;
      return [
        gatedActivationWgsl({ gate: a!.memory, up: b!.memory, out: out.memory, activation, count }),
      ];
    }
    case "add":
      return [addWgsl({ a: a!.memory, b: b!.memory, out: out.memory, scale: node.scale, count })];
    case "gather":
      return [
        gatherWgsl({
          rows: a!.memory,
          width: out.width,
          indices: step.memory,
          indicesAt: step.sections.logitIndices,
          numIndices: out.numRows,
          out: out.memory,
        }),
      ];
    case "logits": {
      const { scale, softcap } = node;
      return [logitsWgsl({ input: a!.memory, out: out.memory, scale, softcap, count })];
    }
  }
}

/** Workgroups that keep a large GPU busy, and keys that make a part of a row worth its overhead. */
const busyWorkgroups = 4096;
const fewestKeys = 256;
/** Most bytes of partial results. */
const partialBytes = 2 ** 26;

/** Into how many parts of how many keys a step's rows are cut: as many for each part, if it can be. */
export function splitsOf(step: DeviceStep, bytes: number, maxBytes: number) {
  const { numTiles, numSequences, longestRow, keysPerLayer } = step;
  const most = Math.min(mostSplits, Math.floor(Math.min(partialBytes, maxBytes) / bytes));
  const keysRead = (keysPerLayer * numTiles) / Math.max(1, numSequences);
  const fewest = Math.max(fewestKeys, keysRead / busyWorkgroups, longestRow / Math.max(1, most));
  const splitKeys = Math.ceil(fewest / 128) * 128;
  return { splitKeys, numSplits: Math.max(1, Math.ceil(longestRow / splitKeys)) };
}

function attention(
  node: Extract<GraphNode, { op: "pagedAttention" }>,
  { device, step, graph, scratch, maxBytes }: Pass,
  out: Value,
  [query, key, value]: readonly Value[],
): readonly WgslDispatch[] {
  const { host, memory, tables } = device;
  const { numLayers, numQueryHeads, numKvHeads, headDim } = graph.shape;
  const owner = host.layout.layerMap[node.layer]!;
  const arena = memory.arenas[host.layout.arenaOfLayer[owner]!]!;
  const vectors = step.numTokens * numQueryHeads;
  const bytes = vectors * headDim * 4;
  const { numSplits, splitKeys } = splitsOf(step, bytes, maxBytes);
  return pagedAttentionWgsl(
    {
      step: step.memory,
      sections: step.sections,
      numSequences: step.numSequences,
      numTokens: step.numTokens,
      numTiles: step.numTiles,
      numSplits,
      splitKeys,
      subgroups: device.gpu.tier !== "T0",
      tables: tables.memory,
      lengthsAt: tables.lengthsAt,
      maxBlocksPerRow: host.maxBlocksPerRow,
      storage: arena.storage,
      side: arena.side,
      numSlots: arena.numSlots,
      dtype: arena.dtype,
      blockSize: host.layout.arenas[0]!.blockSize,
      windowQueries: memory.windowQueries,
      windowSize: host.windowSize,
      rowsPerSequence: numLayers * numKvHeads,
      layerRow: owner * numKvHeads,
      layer: node.layer,
      numLayers,
      owner: owner === node.layer,
      numQueryHeads,
      numKvHeads,
      headDim,
      scale: node.scale,
      slidingWindow: node.slidingWindow,
      softcap: node.softcap,
      query: query!.memory,
      key: key!.memory,
      value: value!.memory,
      out: out.memory,
      partials: scratch.get("partials", "f32", (numSplits * bytes) / 4),
      partialStats: scratch.get("partial stats", "f32", numSplits * vectors * 2),
      stats: scratch.get("stats", "f32", vectors * 2),
    },
    step.signalFlags,
    step.longestRow,
  );
}
