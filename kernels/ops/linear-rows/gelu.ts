import { defineKernel, hostArray, type Tensor } from "@kvcache/core";

/** x Φ(x) of every number, in place: the exact GELU. */
export const gelu = defineKernel<{ readonly values: Tensor }>({
  name: "gelu",
  reference({ values }) {
    const data = hostArray(values, "f32");
    for (let i = 0; i < data.length; i++) data[i] = data[i]! * normalDistribution(data[i]!);
  },
  native: ({ values }) => ({
    inputs: [values],
    outputs: [values],
    integers: [values.length],
    floats: [],
  }),
});

/** Φ(x), the standard normal distribution, within 1e-7. Abramowitz and Stegun 1964, 7.1.26. */
export function normalDistribution(x: number): number {
  const z = Math.abs(x) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * z);
  const series =
    t *
    (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const tail = (series * Math.exp(-z * z)) / 2;
  return x < 0 ? tail : 1 - tail;
}
