import { defineKernel, hostArray, type Tensor } from "@kvcache/core";

export interface PreferenceParams {
  /** f32 [layers], not negative: see {@link attentionSpread}. */
  readonly dispersion: Tensor;
  readonly shift: Tensor;
  readonly tau1: number;
  readonly tau2: number;
  /** f32 [layers]. */
  readonly out: Tensor;
}

/** What each layer asks for: dispersion^(1 / tau1) × shift^(1 / tau2). */
export const preference = defineKernel<PreferenceParams>({
  name: "preference",
  reference({ dispersion, shift, tau1, tau2, out }) {
    const spreads = hostArray(dispersion, "f32");
    const shifts = hostArray(shift, "f32");
    const preferences = hostArray(out, "f32");
    for (let layer = 0; layer < preferences.length; layer++)
      preferences[layer] =
        Math.max(0, spreads[layer]!) ** (1 / tau1) * Math.max(0, shifts[layer]!) ** (1 / tau2);
  },
});
