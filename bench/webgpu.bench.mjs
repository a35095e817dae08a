// Kernels, compression events and decode steps on a GPU, against a plain copy and a plain read in the
// same run.   --quick  sizes for drivers in software     --tier T0     --only topk,linear …
import { pathToFileURL } from "node:url";
import { bundleWebGpuBench } from "./webgpu-bundle.mjs";

export default async function run(settings) {
  const { default: measure } = await import(pathToFileURL(await bundleWebGpuBench()).href);
  return measure(settings);
}
