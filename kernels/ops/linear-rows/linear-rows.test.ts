import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { randomFloats, randomNumbers } from "../../src/test-cache.ts";
import { normalDistribution } from "./gelu.ts";
import { linearRows } from "./linear-rows.ts";

it("multiplies rows by a weight and adds a bias", () => {
  const [numRows, inputs, outputs] = [131, 7, 5];
  const random = randomNumbers(6);
  const input = randomFloats(random, numRows * inputs);
  const weight = randomFloats(random, outputs * inputs);
  const bias = randomFloats(random, outputs);
  const out = hostTensor(new Float32Array(numRows * outputs));
  linearRows.reference({
    ...{ input: hostTensor(input), numRows, weight: hostTensor(weight), out },
    bias: hostTensor(bias),
  });
  out.data.forEach((value, at) => {
    const [i, o] = [Math.floor(at / outputs), at % outputs];
    let wanted = bias[o]!;
    for (let c = 0; c < inputs; c++) wanted += input[i * inputs + c]! * weight[o * inputs + c]!;
    expect(value).toBeCloseTo(wanted, 5);
  });
  expect(() =>
    linearRows.reference({
      ...{ input: hostTensor(input), numRows, out },
      weight: hostTensor(weight.subarray(1)),
    }),
  ).toThrow("cannot map 7 to 5");
});

it("knows the normal distribution", () => {
  // By Simpson's rule over the density from 0 to x.
  for (const x of [-6, -2.3, -0.4, 0, 0.7, 1.9, 5]) {
    const steps = 2000;
    let total = 0;
    for (let i = 0; i <= steps; i++) {
      const weight = i === 0 || i === steps ? 1 : i % 2 === 1 ? 4 : 2;
      total += weight * Math.exp(-(((x * i) / steps) ** 2) / 2);
    }
    const wanted = 0.5 + (total * x) / steps / 3 / Math.sqrt(2 * Math.PI);
    expect(Math.abs(normalDistribution(x) - wanted)).toBeLessThan(2e-7);
  }
});
