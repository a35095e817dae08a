import {
  type Backend,
  type DecoderGraph,
  KvCacheError,
  type Observation,
  type SignalKind,
} from "@kvcache/core";
import { type AttentionBlock, attentionBlock } from "./model-view.ts";
import {
  chunkSignals,
  createObservation,
  type ObservedPart,
  type ObservedTokens,
  signalOfPart,
} from "./observation.ts";

/** Values of the graph that a model was loaded to give out, and how observers see them. */
export interface Taps {
  /** Names for `LoadOptions.taps`. */
  readonly names: readonly string[];
  /** Chunk signals that they are the source of. */
  readonly signals: ReadonlySet<SignalKind>;
  /** Tokens [begin, begin + tokenIds.length) of a pass of `numTokens`, as far as `signals` go. */
  observation(
    values: ReadonlyMap<string, Float32Array>,
    tokens: ObservedTokens & { readonly begin: number; readonly numTokens: number },
    signals: ReadonlySet<SignalKind>,
  ): Observation;
}

/**
 * The taps behind chunk signals; kinds that come without a tap are passed over. Throws
 * `missing-signal` for one that the backend cannot give, `unsupported` for a graph of another form.
 */
export function createTaps(
  graph: DecoderGraph,
  backend: Backend,
  wanted: readonly SignalKind[],
): Taps {
  for (const kind of wanted)
    if (!backend.signals.includes(kind))
      throw new KvCacheError(
        "missing-signal",
        `Backend ${backend.name} cannot give the signal ${kind}.`,
        { value: kind, remedy: `It gives: ${backend.signals.join(", ")}.` },
      );
  const signals = new Set(chunkSignals.filter((kind) => wanted.includes(kind)));
  const parts = (Object.keys(signalOfPart) as ObservedPart[]).filter((part) =>
    signals.has(signalOfPart[part]),
  );
  const layers = parts.length > 0 ? graph.shape.numLayers : 0;
  const blocks: readonly AttentionBlock[] = Array.from({ length: layers }, (_, layer) =>
    attentionBlock(graph, layer),
  );
  const names = new Set(blocks.flatMap(({ values }) => parts.map((part) => values[part])));
  return Object.freeze<Taps>({
    names: [...names],
    signals,
    observation(values, { begin, numTokens, ...tokens }, visible) {
      const end = begin + tokens.tokenIds.length;
      return createObservation(tokens, visible, (part, layer) => {
        const block = blocks[layer]!;
        const all = values.get(block.values[part])!;
        const width = all.length / numTokens;
        const own = all.subarray(begin * width, end * width);
        const scale = part === "attentionOutput" ? block.outputScale : 1;
        return scale === 1 ? own : own.map((value) => value * scale);
      });
    },
  });
}
