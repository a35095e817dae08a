import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { cur } from "./index.ts";

testPolicy("cur", () => cur());
testPolicy("cur, projected", () => cur({ randomProjection: true, leverage: "average", sinks: 2 }));

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 1, headDim: 4 };
const n = 21;
const squares = (vector: Float32Array) => vector.reduce((sum, x) => sum + x * x, 0);

it("multiplies the shares of squared norms within windows", async () => {
  const made = tokenCache({ shape, seed: 8, sequences: 1, maxTokens: n, windowSize: 0 });
  made.feed(0, n, { flags: 0 });
  const { scores } = await compressOnce(made, cur({ localWindow: 8 }), { ratio: 0.5 });
  scores.forEach((got, layer) => {
    const share = (side: "key" | "value", j: number) => {
      const begin = j - (j % 8);
      let total = 0;
      for (let i = begin; i < Math.min(n, begin + 8); i++)
        total += squares(made.tokens(0, layer, i)[side]);
      return squares(made.tokens(0, layer, j)[side]) / total;
    };
    const products = Array.from({ length: n }, (_, j) => share("key", j) * share("value", j));
    const all = products.reduce((sum, product) => sum + product, 0);
    products.forEach((product, j) => {
      if (j >= 4) expect(got[j]).toBeCloseTo(product / all, 6);
    });
  });
});
