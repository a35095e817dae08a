import {
  assert,
  type DecoderGraph,
  type GraphNode,
  type HostCache,
  type RopeParameters,
  ropeTable,
  type StepInput,
} from "@kvcache/core";
import { pagedAttentionSteps, rope } from "@kvcache/kernels";
import { addScaled, embed, gatedActivation, gather, rmsNorm, scaleLogits } from "./elementwise.ts";
import { linear } from "./linear.ts";
import { createPacer, type Pacer } from "./pause.ts";
import type { Weights } from "./weights.ts";

interface Context {
  readonly graph: DecoderGraph;
  readonly weights: Weights;
  readonly cache: HostCache;
  readonly step: StepInput;
  /** Values that later nodes still read. */
  readonly values: Map<string, Float32Array>;
  readonly tables: readonly RopeTable[];
  readonly pacer: Pacer;
}

interface RopeTable {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/** Interprets a graph's nodes in order; returns the value of `graph.output` and those of `taps`. */
export async function forward(
  graph: DecoderGraph,
  weights: Weights,
  cache: HostCache,
  step: StepInput,
  taps: readonly string[],
): Promise<{ readonly logits: Float32Array; readonly tapped: readonly Float32Array[] }> {
  const values = new Map<string, Float32Array>();
  const tables = graph.ropes.map((parameters) => tableOf(parameters, step));
  const context: Context = { graph, weights, cache, step, values, tables, pacer: createPacer() };
  const lastUses = lastUsesOf(graph, taps);
  for (const [index, node] of graph.nodes.entries()) {
    const value = await evaluate(node, context);
    for (const name of lastUses[index]!) values.delete(name);
    values.set(node.out, value);
    if (context.pacer.due()) await context.pacer.pause();
  }
  return {
    logits: read(values, graph.output),
    tapped: taps.map((name) => read(values, name)),
  };
}

async function evaluate(node: GraphNode, context: Context): Promise<Float32Array> {
  const { graph, weights, step, values, pacer } = context;
  const input = (name: string) => read(values, name);
  const numTokens = step.tokenIds.length;
  switch (node.op) {
    case "embed":
      return embed(weights.get(node.weight), graph.hiddenSize, step.tokenIds, node.scale);
    case "rmsNorm":
      return rmsNorm(input(node.input), weights.get(node.weight), node.epsilon, node.unitOffset);
    case "linear": {
      const { inFeatures, outFeatures, bias } = node;
      const vectors = input(node.input);
      return linear(
        {
          input: vectors,
          weight: weights.get(node.weight),
          bias: bias && weights.get(bias),
          // The last one runs over the gathered rows only.
          numTokens: vectors.length / inFeatures,
          inFeatures,
          outFeatures,
        },
        pacer,
      );
    }
    case "rope": {
      const vectors = input(node.input);
      const out = new Float32Array(vectors.length);
      const { numHeads } = node;
      rope.reference({ input: vectors, out, ...context.tables[node.table]!, numTokens, numHeads });
      return out;
    }
    case "pagedAttention": {
      const query = input(node.query);
      const out = new Float32Array(query.length);
      const steps = pagedAttentionSteps({
        cache: context.cache,
        step,
        layer: node.layer,
        scale: node.scale,
        slidingWindow: node.slidingWindow,
        softcap: node.softcap,
        query,
        key: input(node.key),
        value: input(node.value),
        out,
      });
      for (const _ of steps) if (pacer.due()) await pacer.pause();
      return out;
    }
    case "gatedActivation":
      return gatedActivation(input(node.gate), input(node.up), node.activation);
    case "add":
      return addScaled(input(node.a), input(node.b), node.scale);
    case "gather": {
      const rows = input(node.input);
      return gather(rows, rows.length / numTokens, step.logitIndices);
    }
    case "logits":
      return scaleLogits(input(node.input), node.scale, node.softcap);
  }
}

function read(values: Map<string, Float32Array>, name: string): Float32Array {
  const value = values.get(name);
  assert(value, `The graph reads ${name} before a node writes it.`);
  return value;
}

function tableOf(parameters: RopeParameters, { positions, ropeLengths }: StepInput): RopeTable {
  const length = (positions.length * parameters.dim) / 2;
  const cos = new Float32Array(length);
  const sin = new Float32Array(length);
  ropeTable(parameters, positions, ropeLengths, cos, sin);
  return { cos, sin };
}

/** Per node the values that nobody reads later, at the end of the pass either. */
function lastUsesOf(graph: DecoderGraph, taps: readonly string[]): readonly (readonly string[])[] {
  const seen = new Set([graph.output, ...taps]);
  return graph.nodes
    .toReversed()
    .map((node) => {
      const last = [...new Set(inputsOf(node))].filter((name) => !seen.has(name));
      for (const name of last) seen.add(name);
      return last;
    })
    .reverse();
}

function inputsOf(node: GraphNode): readonly string[] {
  switch (node.op) {
    case "embed":
      return [];
    case "pagedAttention":
      return [node.query, node.key, node.value];
    case "gatedActivation":
      return [node.gate, node.up];
    case "add":
      return [node.a, node.b];
    default:
      return [node.input];
  }
}
