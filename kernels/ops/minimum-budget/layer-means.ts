import { defineKernel, hostArray, type Tensor } from "@kvcache/core";

export interface LayerMeansParams {
  /** f32 [layers × heads]. */
  readonly values: Tensor;
  /** f32 [layers]. */
  readonly out: Tensor;
}

/** The mean over each layer's heads. */
export const layerMeans = defineKernel<LayerMeansParams>({
  name: "layer-means",
  reference({ values, out }) {
    const given = hostArray(values, "f32");
    const means = hostArray(out, "f32");
    const heads = given.length / means.length;
    for (let layer = 0; layer < means.length; layer++) {
      let sum = 0;
      for (let head = 0; head < heads; head++) sum += given[layer * heads + head]!;
      means[layer] = sum / heads;
    }
  },
});
