import { expect, it } from "vitest";
import { randomFloats, randomNumbers } from "../../src/test-cache.ts";
import { outputNorms } from "./output-norms.ts";

it("is the length of the value's projection", () => {
  const shape = { numLayers: 2, numQueryHeads: 3, numKvHeads: 1, headDim: 5 };
  const [hiddenSize, length] = [7, 300];
  const random = randomNumbers(1);
  const weights = [0, 1].map(() => randomFloats(random, hiddenSize * 15));
  const values = randomFloats(random, length * 5);
  const norms = outputNorms(shape, {
    hiddenSize,
    rope: () => undefined,
    outputWeight: (layer) => weights[layer]!,
  });
  for (const layer of [0, 1])
    for (const head of [0, 2]) {
      const got = norms.of(layer, head, values);
      expect(got).toHaveLength(length);
      got.forEach((norm, j) => {
        const written = Array.from({ length: hiddenSize }, (_, row) =>
          [0, 1, 2, 3, 4].reduce(
            (sum, c) => sum + weights[layer]![row * 15 + head * 5 + c]! * values[j * 5 + c]!,
            0,
          ),
        );
        expect(norm).toBeCloseTo(Math.hypot(...written), 6);
      });
    }
});
