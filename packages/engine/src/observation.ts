import { KvCacheError, type Observation, type SignalKind } from "@kvcache/core";

/** What of a forward pass observers may look at, and the signal that lets them. */
export const signalOfPart = {
  queries: "chunkQueries",
  queriesPreRope: "queryStatistics",
  hidden: "hidden",
  headOutputs: "headOutputs",
  residual: "headOutputs",
  attentionOutput: "headOutputs",
} as const satisfies Record<string, SignalKind>;

export type ObservedPart = keyof typeof signalOfPart;

/** Signals that reach scorers through observers only. */
export const chunkSignals: readonly SignalKind[] = [...new Set(Object.values(signalOfPart))];

export interface ObservedTokens {
  /** Position of the first token. */
  readonly start: number;
  readonly tokenIds: Int32Array;
}

/**
 * An observation that shows what `read` gives of it, f32 [count, width], as far as `signals` were
 * asked for; the rest throws `missing-signal`.
 */
export function createObservation(
  { start, tokenIds }: ObservedTokens,
  signals: ReadonlySet<SignalKind>,
  read: (part: ObservedPart, layer: number) => Float32Array,
): Observation {
  const part = (name: ObservedPart) => (layer: number) => {
    const signal = signalOfPart[name];
    if (!signals.has(signal))
      throw new KvCacheError("missing-signal", `Nobody asked for the ${name} of this pass.`, {
        value: name,
        remedy: `Name the signal "${signal}" among the scorer's needs.`,
      });
    return read(name, layer);
  };
  return Object.freeze({
    start,
    tokenIds,
    queries: part("queries"),
    queriesPreRope: part("queriesPreRope"),
    hidden: part("hidden"),
    headOutputs: part("headOutputs"),
    residual: part("residual"),
    attentionOutput: part("attentionOutput"),
  });
}
