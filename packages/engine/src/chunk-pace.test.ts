import { expect, it } from "vitest";
import { createChunkPace } from "./chunk-pace.ts";

/** A machine on which a step costs `fixed` + `each` per decoding sequence + a growing price per prompt token. */
function simulate(numDecoding: number, promptLength: number, maxStall: number): number[] {
  const pace = createChunkPace(maxStall, 1);
  const [fixed, each] = [4, 0.5];
  const decodeOnly = fixed + each * numDecoding;
  for (let i = 0; i < 20; i++)
    pace.observe({ numDecoding, promptTokens: 0, milliseconds: decodeOnly });
  const gaps: number[] = [];
  for (let read = 0; read < promptLength; ) {
    const promptTokens = Math.min(512, pace.promptTokens(numDecoding), promptLength - read);
    const price = 0.2 + 0.4 * (read / 15_000);
    const milliseconds = decodeOnly + promptTokens * price;
    pace.observe({ numDecoding, promptTokens, milliseconds });
    gaps.push(milliseconds / decodeOnly);
    read += promptTokens;
  }
  return gaps;
}

it("keeps the gaps of decoding sequences within the factor while a long prompt is read", () => {
  for (const numDecoding of [1, 8, 64])
    for (const maxStall of [1.5, 2, 4]) {
      const gaps = simulate(numDecoding, 15_000, maxStall);
      expect(Math.max(...gaps)).toBeLessThanOrEqual(maxStall);
      // And reads as much as that allows, after it found out how much that is.
      const later = gaps.slice(8, -1);
      const mean = later.reduce((a, b) => a + b, 0) / later.length;
      expect(mean).toBeGreaterThan(1 + 0.6 * (maxStall - 1));
    }
});

it("does not slow prompts down where nobody decodes, nor ever stops them", () => {
  const pace = createChunkPace(2, 16);
  expect(pace.promptTokens(0)).toBe(Number.POSITIVE_INFINITY);
  expect(pace.promptTokens(5)).toBe(16);
  pace.observe({ numDecoding: 5, promptTokens: 0, milliseconds: 1 });
  pace.observe({ numDecoding: 5, promptTokens: 16, milliseconds: 100 });
  expect(pace.promptTokens(5)).toBe(16);
});

it("guesses from the nearest number of sequences, the smaller one first", () => {
  const pace = createChunkPace(2, 1);
  pace.observe({ numDecoding: 4, promptTokens: 0, milliseconds: 10 });
  pace.observe({ numDecoding: 12, promptTokens: 0, milliseconds: 30 });
  pace.observe({ numDecoding: 4, promptTokens: 10, milliseconds: 20 });
  expect(pace.promptTokens(8)).toBe(8);
  expect(pace.promptTokens(2)).toBe(8);
  expect(pace.promptTokens(20)).toBe(24);
});
