import { expect, it } from "vitest";
import { randomFloats, randomNumbers } from "../../src/test-cache.ts";
import { duoHeadScores } from "./duo-head-scores.ts";

const shape = { numQueryHeads: 4, numKvHeads: 2, headDim: 6 };
const rope = { theta: 100, dim: 4, maxPositions: 64, scaling: { type: "default" } } as const;

it("is the mean cumulated attention of the last of repeated mean queries", () => {
  const random = randomNumbers(4);
  const [samples, positions] = [3, 17];
  const meanQueries = randomFloats(random, samples * 24);
  const meanKeys = randomFloats(random, samples * 12);
  const got = duoHeadScores({ shape, rope, positions, meanQueries, meanKeys });
  const expected = [0, 0];
  for (let sample = 0; sample < samples; sample++)
    for (let head = 0; head < 4; head++) {
      const q = meanQueries.subarray((sample * 4 + head) * 6, (sample * 4 + head + 1) * 6);
      const k = meanKeys.subarray(
        (sample * 2 + (head >> 1)) * 6,
        (sample * 2 + (head >> 1) + 1) * 6,
      );
      // Rotating both is rotating by the distance between them.
      const weights = Array.from({ length: positions }, (_, p) => {
        const distance = positions - 1 - p;
        let dot = q[4]! * k[4]! + q[5]! * k[5]!;
        [1, 1 / 10].forEach((frequency, i) => {
          const [c, s] = [Math.cos(distance * frequency), Math.sin(distance * frequency)];
          dot += c * (q[i]! * k[i]! + q[i + 2]! * k[i + 2]!);
          dot -= s * (q[i + 2]! * k[i]! - q[i]! * k[i + 2]!);
        });
        return Math.exp(dot / Math.sqrt(6));
      });
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      let cumulated = 0;
      let area = 0;
      for (const weight of weights) {
        cumulated += weight / total;
        area += cumulated;
      }
      expected[head >> 1]! += area / positions / 2 / samples;
    }
  got.forEach((score, head) => {
    expect(score).toBeCloseTo(expected[head]!, 6);
  });
});

it("is the middle for heads that look everywhere alike", () => {
  const zeros = { meanQueries: new Float32Array(24), meanKeys: new Float32Array(12) };
  const scores = duoHeadScores({ shape, rope: undefined, positions: 9, ...zeros });
  for (const score of scores) expect(score).toBeCloseTo(5 / 9, 12);
});
