import type {
  CacheLayout,
  CacheManager,
  CompressionPhase,
  HostCache,
  KvShape,
} from "@kvcache/core";
import { gatherPositions, rowView } from "@kvcache/kernels";

/** Version of the trace's format: raised when a field changes its meaning. */
export const TRACE_VERSION = 1;

/** What happened, one JSON object per line; `time` is in milliseconds since the trace began. */
export type TraceEvent = { readonly time: number } & (
  | {
      readonly type: "start";
      readonly version: typeof TRACE_VERSION;
      readonly shape: KvShape;
      readonly blockSizes: readonly number[];
      readonly layerMap: readonly number[];
    }
  /** A request's sequence begins to wait; written before `generate` returns. */
  | { readonly type: "queue"; readonly sequence: number; readonly tokens: number }
  /** A sequence got a slot of the cache; `reused` of its `tokens` were cached already. */
  | {
      readonly type: "admit";
      readonly sequence: number;
      readonly slot: number;
      readonly tokens: number;
      readonly reused: number;
    }
  /** A sequence for another choice of the same request; without a slot it waits for one. */
  | {
      readonly type: "fork";
      readonly sequence: number;
      readonly parent: number;
      readonly slot?: number;
    }
  | {
      readonly type: "step";
      readonly sequences: number;
      readonly prefillTokens: number;
      readonly decodeTokens: number;
      readonly milliseconds: number;
    }
  | {
      readonly type: "compress";
      readonly sequence: number;
      readonly phase: CompressionPhase;
      readonly policy: string;
      /** Tokens seen so far. */
      readonly tokens: number;
      /** Entries left in each row: [numLayers × numKvHeads]. */
      readonly kept: readonly number[];
      /** Their positions, row after row, where asked for and the cache is host memory. */
      readonly positions?: readonly (readonly number[])[];
      readonly milliseconds: number;
    }
  | { readonly type: "preempt"; readonly sequence: number; readonly by: "recompute" | "swap" }
  | {
      readonly type: "finish";
      readonly sequence: number;
      readonly reason: "done" | "aborted" | "failed";
    }
);

/** What is written: an event without its time. */
type Untimed<E> = E extends unknown ? Omit<E, "time"> : never;

export interface TraceOptions {
  /** Called once per event; `JSON.stringify(event)` is a line of the file. */
  readonly sink: (event: TraceEvent) => void;
  /** Also writes which positions every row kept. */
  readonly positions?: boolean;
}

export interface Trace {
  write(event: Untimed<TraceEvent>): void;
  /** Positions of each row's entries; undefined unless asked for. */
  positionsOf(cache: CacheManager, slot: number): number[][] | undefined;
}

/** Undefined when tracing is off, so that `trace?.write({ … })` costs nothing. */
export function createTrace(layout: CacheLayout, options?: TraceOptions): Trace | undefined {
  if (!options) return undefined;
  const began = performance.now();
  const write: Trace["write"] = (event) =>
    options.sink({ time: performance.now() - began, ...event } as TraceEvent);
  write({
    type: "start",
    version: TRACE_VERSION,
    shape: layout.shape,
    blockSizes: layout.arenas.map(({ blockSize }) => blockSize),
    layerMap: layout.layerMap,
  });
  return Object.freeze({
    write,
    positionsOf: ({ host }: CacheManager, slot: number) =>
      options.positions && host ? rowPositions(host, slot) : undefined,
  });
}

function rowPositions(host: HostCache, slot: number): number[][] {
  const { numLayers, numKvHeads } = host.layout.shape;
  return Array.from({ length: numLayers * numKvHeads }, (_, row) => {
    const view = rowView(host, slot, Math.floor(row / numKvHeads), row % numKvHeads);
    return Array.from(gatherPositions(view));
  });
}
