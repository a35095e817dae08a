import { headProfile, type KvShape } from "@kvcache/core";

/**
 * Options that methods cannot run without here, by name: random weights and profiles of the shape of
 * a model, above all.
 */
export function methodOptions(
  { numLayers, numQueryHeads, numKvHeads, headDim }: KvShape,
  hiddenSize: number,
): Readonly<Record<string, Readonly<Record<string, unknown>>>> {
  let state = 1;
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    return state / 2 ** 31;
  };
  const floats = (...shape: number[]): Float32Array =>
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 0.3 * random());
  const file = { model: "", fingerprint: "random" };
  const profile = (kind: string, arrays: Readonly<Record<string, readonly number[]>>, edges = {}) =>
    headProfile({
      kind,
      model: { name: "random", fingerprint: null },
      shape: { numLayers, numQueryHeads, numKvHeads },
      settings: edges,
      arrays: Object.fromEntries(
        Object.entries(arrays).map(([name, shape]) => [
          name,
          { shape, values: [...floats(...shape)].map(Math.abs) },
        ]),
      ),
    });
  const width = 4;
  const group = numQueryHeads / numKvHeads;
  const edges = { edges: [16, 64, 256] };
  return {
    baklava: {
      profile: profile("baklava", {
        headImportance: [numLayers, numKvHeads],
        layerImportance: [numLayers],
      }),
    },
    "duo-attention": {
      profile: profile("duo-attention", { headScores: [numLayers, numKvHeads] }),
      sinks: 4,
      recent: 32,
    },
    "head-kv": { profile: profile("head-kv", { headScores: [numLayers, numQueryHeads] }) },
    "heat-kv": { profile: profile("heat-kv", { mass: [numLayers, numKvHeads, 4] }, edges) },
    "fast-kv-zip": {
      gates: {
        ...file,
        ...{ numLayers, numKvHeads, groupSize: group, hiddenSize, width },
        tensors: {
          gateQueryWeight: floats(numLayers, numQueryHeads * width, hiddenSize),
          gateQueryBias: floats(numLayers, numQueryHeads * width),
          gateKeyWeight: floats(numLayers, numKvHeads * width, hiddenSize),
          gateQueryNorm: floats(numLayers, width),
          gateKeyNorm: floats(numLayers, width),
          gateBase: floats(numLayers, numKvHeads, 3, width),
          gateBias: floats(numLayers, numKvHeads, group),
        },
      },
    },
    "kv-grad": {
      gradientNorms: (_pass: number, _layer: number, from: number, count: number) =>
        Float32Array.from({ length: count }, (_, i) => 1 + ((from + i) % 5)),
    },
    "kv-zap": {
      surrogate: {
        ...file,
        shape: [numLayers, numKvHeads, hiddenSize],
        layers: Array.from({ length: numLayers }, () => ({
          weight1: floats(numKvHeads, hiddenSize),
          bias1: floats(numKvHeads),
        })),
      },
    },
    "lu-kv": {
      curve: {
        ...file,
        shape: [99, numLayers, numKvHeads],
        fractions: Float32Array.from({ length: 99 * numLayers * numKvHeads }, (_, i) =>
          Math.min(
            1,
            ((Math.floor(i / (numLayers * numKvHeads)) + 1) / 100) * (1 + 0.2 * random()),
          ),
        ),
      },
    },
    // Reads everything, so that the masks are those of what is kept.
    quest: { tokens: 1 << 20 },
    "q-filters": {
      filters: {
        ...file,
        shape: [numLayers, numKvHeads, headDim],
        filters: floats(numLayers, numKvHeads, headDim),
      },
    },
  };
}
