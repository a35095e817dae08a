import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { capKV } from "./index.ts";

testPolicy("cap-kv", () => capKV());
testPolicy("cap-kv, blunt", () => capKV({ tau: 0, sinks: 0, futurePositions: 3 }));

const shape = { numLayers: 1, numQueryHeads: 1, numKvHeads: 1, headDim: 2 };

it("weighs the leverage of values by how well keys agree with the mean query", async () => {
  const policy = capKV({ tau: 2, sinks: 0, futurePositions: 1, epsilon: 0.01 });
  const { scorer } = policy;
  const made = tokenCache({ shape, seed: 7, sequences: 1, maxTokens: 12, windowSize: 0, scorer });
  made.feed(0, 12, { flags: 0 });
  const { scores } = await compressOnce(made, policy, { ratio: 0.5 });
  const tokens = Array.from({ length: 12 }, (_, j) => made.tokens(0, 0, j));
  // Head dim 2 is one pair: turning by a position is a rotation of the plane by as many radians.
  const turned = ([x, y]: Float32Array, by: number) => [
    x! * Math.cos(by) - y! * Math.sin(by),
    y! * Math.cos(by) + x! * Math.sin(by),
  ];
  const anchor = tokens.reduce(
    ([x, y], { query }, j) => {
      const [dx, dy] = turned(query, 12 - j);
      return [x! + dx!, y! + dy!];
    },
    [0, 0],
  );
  const cosines = tokens.map(
    ({ key }) =>
      (key[0]! * anchor[0]! + key[1]! * anchor[1]!) / Math.hypot(...key) / Math.hypot(...anchor),
  );
  const weights = cosines.map((cosine) => Math.exp(2 * (cosine - Math.max(...cosines))));
  let [a, b, d] = [1, 0, 1];
  tokens.forEach(({ value: [x, y] }, j) => {
    const weight = weights[j]! + 0.01;
    a += weight * x! * x!;
    b += weight * x! * y!;
    d += weight * y! * y!;
  });
  tokens.forEach(({ value: [x, y] }, j) => {
    const leverage = (d * x! * x! - 2 * b * x! * y! + a * y! * y!) / (a * d - b * b);
    expect(scores[0]![j]).toBeCloseTo(weights[j]! * leverage, 5);
  });
});
