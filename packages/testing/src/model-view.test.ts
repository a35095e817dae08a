import { createReferenceBackend } from "@kvcache/backend-reference";
import {
  cacheLayout,
  type ModelView,
  type Observation,
  type Observer,
  ropeTable,
  weightFloats,
} from "@kvcache/core";
import { createRunner } from "@kvcache/engine";
import { rope } from "@kvcache/kernels";
import { createPagedCache } from "@kvcache/paged";
import { describe, expect, it } from "vitest";
import { type RandomModel, randomModel, randomModels } from "./random-model.ts";

const granite = {
  ...randomModels["grouped queries, tied embeddings"],
  architectures: ["GraniteForCausalLM"],
  residual_multiplier: 0.22,
};
const signals = ["chunkQueries", "queryStatistics", "hidden", "headOutputs"] as const;
const first = 5;
const count = 8;

for (const [title, config] of Object.entries({ ...randomModels, "scaled residuals": granite }))
  describe(`what observers see of ${title}`, () => {
    const model = randomModel(config, 4);
    const { shape, nodes } = model.graph;
    const layers = Array.from({ length: shape.numLayers }, (_, layer) => layer);
    const norms = nodes.some(({ out }) => out === "0.attentionNormed");

    it("is what the model's own arithmetic makes of it", async () => {
      const { view, seen } = await observe(model);
      const inputs = shape.numQueryHeads * shape.headDim;
      for (const layer of layers) {
        expectClose(rotated(seen.queriesPreRope(layer), view, layer, shape.numQueryHeads), [
          ...seen.queries(layer),
        ]);
        expectClose(normed(seen.residual(layer), model, layer), [...seen.hidden(layer)]);
        // Gemma norms the block's output before it is added.
        if (norms) continue;
        const scale = title === "scaled residuals" ? 0.22 : 1;
        const weight = view.outputWeight(layer);
        const heads = seen.headOutputs(layer);
        const projected = Array.from({ length: count * view.hiddenSize }, (_, i) => {
          const [token, row] = [Math.floor(i / view.hiddenSize), i % view.hiddenSize];
          let total = 0;
          for (let c = 0; c < inputs; c++)
            total += heads[token * inputs + c]! * weight[row * inputs + c]!;
          return total * scale;
        });
        expectClose(projected, [...seen.attentionOutput(layer)]);
      }
    });
  });

/** What a profiler sees of tokens 5 … 12, copied. */
async function observe({ graph, weights }: RandomModel) {
  let seen: Observation | undefined;
  const observer: Observer = {
    observe(_encoder, observation) {
      if (observation.start !== first) return;
      const copy = (part: (layer: number) => Float32Array) => {
        const layers = Array.from({ length: graph.shape.numLayers }, (_, l) => part(l).slice());
        return (layer: number) => layers[layer]!;
      };
      const { queries, queriesPreRope, hidden, headOutputs, residual, attentionOutput } =
        observation;
      seen = {
        ...observation,
        queries: copy(queries),
        queriesPreRope: copy(queriesPreRope),
        hidden: copy(hidden),
        headOutputs: copy(headOutputs),
        residual: copy(residual),
        attentionOutput: copy(attentionOutput),
      };
    },
    truncate() {},
    fork: () => observer,
  };
  const runner = await createRunner({
    model: {
      name: "random",
      graph,
      weights,
      tokenizer: undefined,
      generationConfig: { eosTokenIds: [], maxNewTokens: undefined },
      fingerprint: "random",
    },
    backend: createReferenceBackend(),
    cache: createPagedCache({
      layout: cacheLayout(graph.shape, { slidingWindow: graph.slidingWindow }),
      maxSequences: 1,
      maxTokensPerSequence: 32,
      numBlocks: 64,
    }),
    signals,
  });
  const sequence = runner.open({}, { observer });
  await sequence.prefill(Array.from({ length: first }, (_, i) => 3 * i + 1));
  await sequence.prefill(Array.from({ length: count }, (_, i) => 7 * i + 2));
  return { seen: seen!, view: runner.runtime.view };
}

function rotated(queries: Float32Array, view: ModelView, layer: number, numHeads: number) {
  const parameters = view.rope(layer)!;
  const positions = Int32Array.from({ length: count }, (_, i) => first + i);
  const [cos, sin] = [0, 1].map(() => new Float32Array((count * parameters.dim) / 2));
  const lengths = positions.map(() => first + count);
  ropeTable(parameters, positions, lengths, cos!, sin!);
  const out = queries.slice();
  rope.reference({ input: out, out, cos: cos!, sin: sin!, numTokens: count, numHeads });
  return out;
}

/** The attention block's own norm, in float64. */
function normed(residual: Float32Array, { graph, weights }: RandomModel, layer: number) {
  const name = `model.layers.${layer}.input_layernorm.weight`;
  const node = graph.nodes.find((n) => n.op === "rmsNorm" && n.weight.name === name);
  if (node?.op !== "rmsNorm") throw new Error(`There is no ${name}.`);
  const weight = weightFloats(weights.get(name), { name });
  const width = graph.hiddenSize;
  return Array.from(residual, (value, i) => {
    const row = residual.subarray(i - (i % width), i - (i % width) + width);
    const mean = row.reduce((total, x) => total + x * x, 0) / width;
    const factor = weight[i % width]! + (node.unitOffset ? 1 : 0);
    return (value / Math.sqrt(mean + node.epsilon)) * factor;
  });
}

function expectClose(got: ArrayLike<number>, expected: readonly number[]): void {
  expect(got.length).toBe(expected.length);
  expected.forEach((value, i) => {
    expect(Math.abs(got[i]! - value), `entry ${i}`).toBeLessThan(
      1e-4 * Math.max(1, Math.abs(value)),
    );
  });
}
