import { describe, expect, it } from "vitest";
import {
  attentionFactor,
  inverseFrequencies,
  type RopeParameters,
  type RopeScaling,
  ropeTable,
} from "./rope.ts";

const rope = (scaling: RopeScaling, more: Partial<RopeParameters> = {}): RopeParameters => ({
  theta: 10_000,
  dim: 16,
  maxPositions: 64,
  scaling,
  ...more,
});
const plain = rope({ type: "default" });

describe("inverseFrequencies", () => {
  it("are powers of theta", () => {
    // 10000^(-2i/16) = 10^(-i/2)
    const expected = [
      1, 0.316227766, 0.1, 0.0316227766, 0.01, 0.00316227766, 0.001, 0.000316227766,
    ];
    inverseFrequencies(plain, 1).forEach((f, i) => {
      expect(f).toBeCloseTo(expected[i]!, 9);
    });
  });

  it("linear divides all of them", () => {
    const scaled = inverseFrequencies(rope({ type: "linear", factor: 4 }), 1);
    inverseFrequencies(plain, 1).forEach((f, i) => {
      expect(scaled[i]).toBe(f / 4);
    });
  });

  it("llama3 keeps short waves, divides long ones, blends between", () => {
    const scaling = {
      type: "llama3",
      factor: 8,
      lowFreqFactor: 1,
      highFreqFactor: 4,
      originalMaxPositions: 64,
    } as const;
    const f = inverseFrequencies(rope(scaling), 1);
    // Wavelengths 6.283, 19.87, 62.83, 198.7 …; kept below 16, divided above 64.
    expect(f[0]).toBe(1);
    const blend = (wave: number, base: number) => {
      const s = (64 / wave - 1) / 3;
      return base * (s + (1 - s) / 8);
    };
    expect(f[1]).toBeCloseTo(blend(19.8691765, 0.316227766), 8);
    expect(f[2]).toBeCloseTo(blend(62.8318531, 0.1), 8);
    expect(f[3]).toBeCloseTo(0.0316227766 / 8, 10);
    expect(f[7]).toBeCloseTo(0.000316227766 / 8, 12);
  });

  it("dynamic leaves short calls alone and slows the last frequency by exactly its ratio", () => {
    const dynamic = rope({ type: "dynamic", factor: 4 });
    expect(inverseFrequencies(dynamic, 64)).toEqual(inverseFrequencies(plain, 1));
    const long = inverseFrequencies(dynamic, 128);
    // theta' ^ (-(d-2)/d) = theta ^ (-(d-2)/d) / (4 · 128/64 − 3)
    expect(long[7]).toBeCloseTo(0.000316227766 / 5, 12);
    expect(long[0]).toBe(1);
  });

  it("yarn interpolates only slow rotations; truncation rounds the border outwards", () => {
    const yarn = (truncate: boolean, originalMaxPositions = 64) =>
      inverseFrequencies(
        rope({
          type: "yarn",
          factor: 4,
          originalMaxPositions,
          betaFast: 4,
          betaSlow: 1,
          truncate,
          attentionFactor: 1,
        }),
        1,
      );
    // 16·ln(64/(β·2π))/(2·ln 10⁴): β = 4 → 0.81188, β = 1 → 2.01600.
    const rounded = yarn(true); // low 0, high 3
    const exact = yarn(false);
    const base = inverseFrequencies(plain, 1);
    const mix = (i: number, low: number, high: number) => {
      const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)));
      return base[i]! * (1 - ramp + ramp / 4);
    };
    base.forEach((_, i) => {
      expect(rounded[i]).toBeCloseTo(mix(i, 0, 3), 9);
      expect(exact[i]).toBeCloseTo(mix(i, 0.8118803, 2.0160018), 5);
    });
    // A border below the first frequency: nothing is interpolated there, as transformers computes it.
    expect(yarn(false, 4)).toEqual(base);
  });

  it("longrope changes its factors beyond the original length", () => {
    const ones = Array.from({ length: 8 }, () => 1);
    const long = rope({
      type: "longrope",
      shortFactor: ones,
      longFactor: ones.map((_, i) => i + 1),
      originalMaxPositions: 32,
      attentionFactor: 1.5,
    });
    const base = inverseFrequencies(plain, 1);
    expect(inverseFrequencies(long, 32)).toEqual(base);
    expect(inverseFrequencies(long, 33)).toEqual(base.map((f, i) => f / (i + 1)));
    expect(attentionFactor(long)).toBe(1.5);
    expect(() => inverseFrequencies({ ...long, dim: 12 }, 1)).toThrow("longrope needs 6 factors");
  });
});

describe("ropeTable", () => {
  const table = (parameters: RopeParameters, positions: number[], lengths: number[]) => {
    const cos = new Float32Array((positions.length * parameters.dim) / 2);
    const sin = cos.slice();
    ropeTable(parameters, Int32Array.from(positions), Int32Array.from(lengths), cos, sin);
    return { cos, sin };
  };

  it("holds cos and sin of position times frequency", () => {
    const { cos, sin } = table(rope({ type: "default" }, { dim: 4 }), [0, 3], [4, 4]);
    // Frequencies 1 and 1/100.
    const close = (got: Float32Array, expected: number[]) =>
      expected.forEach((x, i) => {
        expect(got[i]).toBeCloseTo(x, 6);
      });
    close(cos, [1, 1, -0.9899925, 0.99955]);
    close(sin, [0, 0, 0.14112, 0.0299955]);
  });

  it("multiplies both by the attention factor", () => {
    const yarn = rope({
      type: "yarn",
      factor: 4,
      originalMaxPositions: 16,
      betaFast: 32,
      betaSlow: 1,
      truncate: true,
      attentionFactor: 0.8,
    });
    const { cos, sin } = table(yarn, [5], [6]);
    for (let i = 0; i < 8; i++) expect(Math.hypot(cos[i]!, sin[i]!)).toBeCloseTo(0.8, 6);
  });

  it("uses the length of each token's own call", () => {
    const dynamic = rope({ type: "dynamic", factor: 2 });
    const mixed = table(dynamic, [10, 70, 10, 70], [64, 64, 100, 100]);
    const short = table(dynamic, [10, 70], [64, 64]);
    const long = table(dynamic, [10, 70], [100, 100]);
    expect([...mixed.cos]).toEqual([...short.cos, ...long.cos]);
    expect([...short.cos]).not.toEqual([...long.cos]);
  });
});
