import {
  type DecoderGraph,
  groupSize,
  type HostCache,
  KvCacheError,
  numRows,
  ropeTable,
  type StepInput,
} from "@kvcache/core";
import { type StepSections, vectorTile } from "@kvcache/kernels";
import type { CommandQueue } from "./command-queue.ts";
import type { GpuMemory } from "./gpu-memory.ts";
import type { Scratch } from "./scratch.ts";

/** A step on the device. */
export interface DeviceStep {
  readonly memory: GpuMemory;
  readonly sections: StepSections & { readonly tokenIds: number; readonly logitIndices: number };
  readonly numTokens: number;
  readonly numSequences: number;
  readonly numLogits: number;
  readonly numTiles: number;
  /** Flags of all sequences together. */
  readonly signalFlags: number;
  readonly longestRow: number;
  /** Tokens of all rows of a layer, on average over the layers. */
  readonly keysPerLayer: number;
  /** Rope tables: cos and sin of each, one behind the other. */
  readonly ropes: GpuMemory;
  readonly ropeAt: readonly {
    readonly cosAt: number;
    readonly sinAt: number;
    readonly half: number;
  }[];
}

/** Checks a step and writes it to the device. Throws `invalid-argument` for what does not fit. */
export function writeStep(
  graph: DecoderGraph,
  host: HostCache,
  step: StepInput,
  scratch: Scratch,
  queue: CommandQueue,
): DeviceStep {
  const { longestRow, keysPerLayer } = checkStep(graph, host, step);
  const { tokenIds, cuTokens, sequences } = step;
  const tokenSequences = new Int32Array(tokenIds.length);
  const tiles: number[] = [];
  for (let s = 0; s < sequences.length; s++) {
    tokenSequences.fill(s, cuTokens[s]!, cuTokens[s + 1]!);
    const vectors = (cuTokens[s + 1]! - cuTokens[s]!) * groupSize(graph.shape);
    for (let vector = 0; vector < vectors; vector += vectorTile) tiles.push(s, vector);
  }
  const parts = {
    tokenIds,
    positions: step.positions,
    tokenSequences,
    cuTokens,
    sequences,
    logitIndices: step.logitIndices,
    signalFlags: step.signalFlags,
    attentionBuffers: step.attentionBuffers,
    tiles: Int32Array.from(tiles),
  };
  const words = new Int32Array(Object.values(parts).reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  const place = (part: Int32Array) => {
    const start = at;
    words.set(part, start);
    at += part.length;
    return start;
  };
  const sections = Object.fromEntries(
    Object.entries(parts).map(([name, part]) => [name, place(part)]),
  ) as Record<keyof typeof parts, number>;
  const memory = scratch.get("step", "i32", words.length);
  queue.write(memory, 0, words);
  return {
    memory,
    sections,
    numTokens: tokenIds.length,
    numSequences: sequences.length,
    numLogits: step.logitIndices.length,
    numTiles: tiles.length / 2,
    signalFlags: step.signalFlags.reduce((all, flags) => all | flags, 0),
    longestRow,
    keysPerLayer,
    ...writeRopes(graph, step, scratch, queue),
  };
}

function writeRopes(graph: DecoderGraph, step: StepInput, scratch: Scratch, queue: CommandQueue) {
  const count = step.positions.length;
  const total = graph.ropes.reduce((sum, { dim }) => sum + count * dim, 0);
  const numbers = new Float32Array(total);
  let at = 0;
  const ropeAt = graph.ropes.map((parameters) => {
    const half = parameters.dim / 2;
    const cosAt = at;
    const sinAt = at + count * half;
    at = sinAt + count * half;
    const { positions, ropeLengths } = step;
    const cos = numbers.subarray(cosAt, sinAt);
    ropeTable(parameters, positions, ropeLengths, cos, numbers.subarray(sinAt, at));
    return { cosAt, sinAt, half };
  });
  const ropes = scratch.get("ropes", "f32", total);
  queue.write(ropes, 0, numbers);
  return { ropes, ropeAt };
}

/** Returns the most tokens that a row of the step has, and those of a layer on average. */
function checkStep(graph: DecoderGraph, host: HostCache, step: StepInput) {
  const inRange = (values: Int32Array, limit: number, what: string) => {
    const wrong = values.find((value) => !(value >= 0 && value < limit));
    if (wrong !== undefined)
      throw new KvCacheError("invalid-argument", `There is no ${what} ${wrong} among ${limit}.`, {
        value: wrong,
      });
  };
  inRange(step.tokenIds, graph.vocabSize, "token id");
  inRange(step.logitIndices, step.tokenIds.length, "token of the step");
  inRange(step.sequences, host.maxSequences, "sequence");
  const { layerMap, shape } = host.layout;
  const rows = numRows(shape);
  let longestRow = 0;
  let keys = 0;
  step.sequences.forEach((sequence, s) => {
    const tokens = step.cuTokens[s + 1]! - step.cuTokens[s]!;
    for (let row = 0; row < rows; row++) {
      const layer = Math.floor(row / shape.numKvHeads);
      if (layerMap[layer] !== layer) continue;
      const length = host.lengths[sequence * rows + row]!;
      longestRow = Math.max(longestRow, length);
      keys += length;
      if (length < tokens)
        throw new KvCacheError(
          "invalid-argument",
          `Sequence ${sequence} has room for ${length} tokens, the step brings ${tokens}.`,
          { value: tokens, remedy: "Call cache.append before the step." },
        );
    }
  });
  const owners = layerMap.filter((owner, layer) => owner === layer).length;
  return { longestRow, keysPerLayer: keys / owners };
}
