export { buildGraph } from "./build-graph.ts";
export { type DecoderConfig, parseConfig, resolveTies } from "./config/decoder-config.ts";
export { supportedArchitectures } from "./config/families.ts";
export { type GenerationConfig, parseGenerationConfig } from "./config/generation-config.ts";
export { folderFiles } from "./files/folder-files.ts";
export { type ModelFiles, memoryFiles } from "./files/model-files.ts";
export type { HubOptions, HubProgress } from "./hub/hub-model.ts";
export {
  type DecoderModel,
  type LoadModelOptions,
  loadModel,
  readTokenizer,
  tokenizerOf,
} from "./load-model.ts";
export * from "./sampling/index.ts";
export * from "./text/index.ts";
export { checkWeights } from "./weights/check-weights.ts";
export { openSafetensors, type SafetensorsWeights } from "./weights/safetensors.ts";
export type { TensorEntry } from "./weights/safetensors-header.ts";
