import {
  type DecoderGraph,
  type GraphNode,
  KvCacheError,
  type LoadOptions,
  type WeightRef,
  type WeightSource,
  type WeightTensor,
  weightFloats,
} from "@kvcache/core";

/** Weights in float32, each stored tensor (or range of its rows) converted once. */
export interface Weights {
  /** Row-major values. Throws `internal` for a reference that no node of the graph makes. */
  get(ref: WeightRef): Float32Array;
}

/** Converts every weight that a graph's nodes name, and checks it against what the nodes expect. */
export function loadWeights(
  graph: DecoderGraph,
  source: WeightSource,
  { onProgress, signal }: LoadOptions = {},
): Weights {
  const wanted = graph.nodes.flatMap((node) => expectedWeights(node, graph));
  const loaded = new Map<string, Float32Array>();
  wanted.forEach(({ ref, shape }, done) => {
    if (signal?.aborted)
      throw new KvCacheError("aborted", "Loading the model was aborted.", { cause: signal.reason });
    const stored = source.get(ref.name);
    const key = keyOf(ref);
    if (!loaded.has(key)) loaded.set(key, weightFloats(stored, ref));
    checkSize(ref, stored, loaded.get(key)!.length, shape);
    onProgress?.(done + 1, wanted.length);
  });
  return {
    get(ref) {
      const values = loaded.get(keyOf(ref));
      if (!values) throw new KvCacheError("internal", `Weight ${ref.name} was not loaded.`);
      return values;
    },
  };
}

const keyOf = ({ name, rows }: WeightRef): string => (rows ? `${name}[${rows.join(":")}]` : name);

/** `shape` is what the node needs; for a norm any length will do. */
function expectedWeights(
  node: GraphNode,
  graph: DecoderGraph,
): { ref: WeightRef; shape: readonly number[] | undefined }[] {
  switch (node.op) {
    case "embed":
      return [{ ref: node.weight, shape: [graph.vocabSize, graph.hiddenSize] }];
    case "rmsNorm":
      return [{ ref: node.weight, shape: undefined }];
    case "linear": {
      const weight = { ref: node.weight, shape: [node.outFeatures, node.inFeatures] };
      return node.bias ? [weight, { ref: node.bias, shape: [node.outFeatures] }] : [weight];
    }
    default:
      return [];
  }
}

function checkSize(
  ref: WeightRef,
  stored: WeightTensor,
  length: number,
  shape: readonly number[] | undefined,
): void {
  if (shape && length !== shape.reduce((a, b) => a * b, 1))
    throw new KvCacheError(
      "invalid-model",
      `Weight ${keyOf(ref)} has shape [${stored.shape}], the model needs [${shape}].`,
      { value: stored.shape },
    );
}
