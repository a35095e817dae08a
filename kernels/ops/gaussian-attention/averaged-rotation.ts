import { type KvBatch, type RopeParameters, ropeTable } from "@kvcache/core";
import { modelOf } from "../../src/unrotation.ts";

/** Mean of the rotations of some positions, per pair: [dim / 2] each. */
export interface AveragedRotation {
  readonly cos: Float64Array;
  readonly sin: Float64Array;
}

/**
 * Gives the rotation of a layer of a sequence, averaged over the `count` positions from the next one on, made once for
 * all that share it; undefined where nothing is rotated. Throws `missing-signal` for a
 * batch that does not know its model.
 */
export function averagedRotations(
  batch: KvBatch,
  count: number,
): (layer: number, sequenceIndex: number) => AveragedRotation | undefined {
  const model = modelOf(batch);
  const known = new Map<string, AveragedRotation>();
  return (layer, sequenceIndex) => {
    const rope = model.rope(layer);
    if (!rope) return undefined;
    const first = batch.nextPositions[sequenceIndex]!;
    const name = JSON.stringify([rope, first]);
    const rotation = known.get(name) ?? averagedRotation(rope, first, count);
    known.set(name, rotation);
    return rotation;
  };
}

function averagedRotation(rope: RopeParameters, first: number, count: number): AveragedRotation {
  const half = rope.dim / 2;
  const cos = new Float32Array(count * half);
  const sin = new Float32Array(count * half);
  const positions = Int32Array.from({ length: count }, (_, i) => first + i);
  ropeTable(rope, positions, new Int32Array(count).fill(first + count), cos, sin);
  const mean = (table: Float32Array) =>
    Float64Array.from({ length: half }, (_, i) => {
      let total = 0;
      for (let j = i; j < table.length; j += half) total += table[j]!;
      return total / count;
    });
  return { cos: mean(cos), sin: mean(sin) };
}

/** Turns a vector whose numbers stand `stride` apart, from `at` on, in place. */
export function rotate(
  values: Float64Array,
  { cos, sin }: AveragedRotation,
  at = 0,
  stride = 1,
): void {
  const half = cos.length;
  for (let i = 0; i < half; i++) {
    const first = at + i * stride;
    const second = first + half * stride;
    const x1 = values[first]!;
    const x2 = values[second]!;
    values[first] = x1 * cos[i]! - x2 * sin[i]!;
    values[second] = x2 * cos[i]! + x1 * sin[i]!;
  }
}
