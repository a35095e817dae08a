import { ropeTable } from "@kvcache/core";
import { describe, expect, it } from "vitest";
import { randomFloats, randomNumbers } from "../../src/test-cache.ts";
import { rope } from "./rope.ts";

const [numTokens, numHeads, headDim, ropeDim] = [5, 3, 8, 6];
const positions = Int32Array.of(0, 1, 7, 100, 4000);
const parameters = {
  theta: 10000,
  dim: ropeDim,
  maxPositions: 8192,
  scaling: { type: "default" },
} as const;
const cos = new Float32Array((numTokens * ropeDim) / 2);
const sin = new Float32Array((numTokens * ropeDim) / 2);
ropeTable(parameters, positions, positions, cos, sin);

describe("rope", () => {
  it("turns pairs half a head apart as complex numbers and copies the rest", () => {
    const input = randomFloats(randomNumbers(3), numTokens * numHeads * headDim);
    const out = new Float32Array(input.length);
    rope.reference({ input, out, cos, sin, numTokens, numHeads });
    for (let token = 0; token < numTokens; token++)
      for (let head = 0; head < numHeads; head++) {
        const at = (token * numHeads + head) * headDim;
        for (let i = 0; i < ropeDim / 2; i++) {
          const [x, y] = [input[at + i]!, input[at + ropeDim / 2 + i]!];
          const angle = positions[token]! * 10000 ** ((-2 * i) / ropeDim) + Math.atan2(y, x);
          expect(out[at + i]).toBeCloseTo(Math.hypot(x, y) * Math.cos(angle), 5);
          expect(out[at + ropeDim / 2 + i]).toBeCloseTo(Math.hypot(x, y) * Math.sin(angle), 5);
        }
        expect(out.slice(at + ropeDim, at + headDim)).toEqual(
          input.slice(at + ropeDim, at + headDim),
        );
      }
    rope.reference({ input, out: input, cos, sin, numTokens, numHeads });
    expect(input).toEqual(out);
  });

  it("refuses a table wider than the head", () => {
    const input = new Float32Array(numTokens * 4);
    expect(() =>
      rope.reference({ input, out: input, cos, sin, numTokens, numHeads: 1 }),
    ).toThrowError(/Cannot rotate 6 values of heads of 4/);
  });
});
