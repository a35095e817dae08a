// What methods that take weights or a profile are benched with: what ships for model-tiny, and numbers
// of the right shape where nothing ships (their cost does not depend on the numbers).
import { existsSync, readFileSync } from "node:fs";
import { parseHeadProfile } from "../packages/core/dist/index.js";
import { profilesUrl } from "../packages/model-tiny/dist/index.js";
import {
  readKvZap,
  readQFilters,
  readQueryStatistics,
} from "../packages/policies/all/dist/index.js";

const shipped = (name, read) => {
  const url = new URL(name, profilesUrl);
  return existsSync(url) ? read(readFileSync(url)) : null;
};
const profile = (name) =>
  shipped(`${name}.json`, (bytes) => parseHeadProfile(new TextDecoder().decode(bytes)));

/** Options by policy, for a model of this graph. */
export function methodOptions({ shape, hiddenSize }) {
  const { numLayers, numQueryHeads, numKvHeads } = shape;
  const floats = (...sizes) =>
    Float32Array.from({ length: sizes.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i) / 8);
  const file = { model: "", fingerprint: "synthetic" };
  const width = 16;
  return {
    baklava: { profile: profile("baklava") },
    "duo-attention": { profile: profile("duo-attention") },
    "expected-attention": {},
    "fast-kv-zip": {
      gates: {
        ...file,
        ...{ numLayers, numKvHeads, groupSize: numQueryHeads / numKvHeads, hiddenSize, width },
        tensors: {
          gateQueryWeight: floats(numLayers, numQueryHeads * width, hiddenSize),
          gateQueryBias: floats(numLayers, numQueryHeads * width),
          gateKeyWeight: floats(numLayers, numKvHeads * width, hiddenSize),
          gateQueryNorm: floats(numLayers, width),
          gateKeyNorm: floats(numLayers, width),
          gateBase: floats(numLayers, numKvHeads, width, width),
          gateBias: floats(numLayers, numKvHeads, numQueryHeads / numKvHeads),
        },
      },
    },
    "head-kv": { profile: profile("head-kv") },
    "heat-kv": { profile: profile("heat-kv") },
    "kv-grad": {
      gradientNorms: (_pass, _layer, _from, count) => new Float32Array(count).fill(1),
    },
    "kv-zap": { surrogate: shipped("kv-zap.safetensors", readKvZap) },
    "lu-kv": {
      curve: {
        ...file,
        shape: [99, numLayers, numKvHeads],
        fractions: Float32Array.from(
          { length: 99 * numLayers * numKvHeads },
          (_, i) => (Math.floor(i / (numLayers * numKvHeads)) + 1) / 100,
        ),
      },
    },
    "q-filters": { filters: shipped("q-filters.safetensors", readQFilters) },
    // Statistics that ship, in place of those of the prompt.
    "expected-attention, statistics": {
      statistics: shipped("expected-attention.safetensors", readQueryStatistics),
    },
  };
}
