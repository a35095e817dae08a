import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { randomFloats, randomNumbers } from "../../src/test-cache.ts";
import { retentionGate } from "./retention-gate.ts";

it("is the token's own share of a softmax over base keys and its key", () => {
  const [numTokens, heads, group, width, numBase] = [3, 2, 2, 4, 5];
  const random = randomNumbers(8);
  const queries = randomFloats(random, numTokens * heads * group * width);
  const keys = randomFloats(random, numTokens * heads * width);
  const norms = [0, 1].map(() => randomFloats(random, width));
  const base = randomFloats(random, heads * numBase * width);
  const bias = randomFloats(random, heads * group);
  const out = hostTensor(new Float32Array(heads * numTokens));
  retentionGate.reference({
    ...{
      queries: hostTensor(queries),
      keys: hostTensor(keys),
      numTokens,
      normEpsilon: 1e-3,
      heads,
      out,
    },
    queryNorm: hostTensor(norms[0]!),
    keyNorm: hostTensor(norms[1]!),
    baseKeys: hostTensor(base),
    bias: hostTensor(bias),
  });
  const normed = (row: Float32Array, weights: Float32Array) => {
    const size = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0) / width + 1e-3);
    return row.map((x, c) => (x / size) * weights[c]!);
  };
  const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, c) => sum + x * b[c]!, 0) / 2;
  for (let token = 0; token < numTokens; token++)
    for (let head = 0; head < heads; head++) {
      const at = (token * heads + head) * width;
      const key = normed(keys.subarray(at, at + width), norms[1]!);
      let wanted = 0;
      for (let member = 0; member < group; member++) {
        const from = (at / width) * group * width + member * width;
        const query = normed(queries.subarray(from, from + width), norms[0]!);
        const own = Math.exp(dot(query, key) + bias[head * group + member]!);
        let all = own;
        for (let m = 0; m < numBase; m++) {
          const start = (head * numBase + m) * width;
          all += Math.exp(dot(query, base.subarray(start, start + width)));
        }
        wanted += own / all / group;
      }
      expect(out.data[head * numTokens + token]).toBeCloseTo(wanted, 5);
    }
});
