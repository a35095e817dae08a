import {
  type CacheLayout,
  hostTensor,
  type KvBatch,
  KvCacheError,
  type Observation,
  type Observer,
  type ReplayPass,
} from "@kvcache/core";
import { type PositionRange, queryAttention } from "@kvcache/kernels";

export interface ReplayTableOptions {
  /** Over the queries of all passes. */
  readonly reduce: "max" | "sum";
  /** Cached positions that a pass's queries look at, besides the pass's own. */
  readonly seen: (pass: ReplayPass) => readonly PositionRange[];
  /** f32 [count]: what the weights of a part's queries are multiplied by. Default: nothing. */
  readonly factors?: (
    observation: Observation,
    layer: number,
    pass: ReplayPass & { readonly index: number; readonly cached: number },
  ) => Float32Array;
}

/** Attention that the queries of a sequence's replay passes paid to what was cached before them. */
export interface ReplayTable extends Observer {
  /** Positions [0, width) have entries. */
  readonly width: number;
  /** Queries of all passes. */
  readonly numQueries: number;
  /** f32 [numQueryHeads, width]; 0 where no pass looked. */
  layer(layer: number): Float32Array;
}

/** Begins a table; every new series of passes begins it anew. */
export function replayTable(layout: CacheLayout, options: ReplayTableOptions): ReplayTable {
  return withContents(layout, options, 0, 0, new Map());
}

function withContents(
  layout: CacheLayout,
  options: ReplayTableOptions,
  width: number,
  numQueries: number,
  tables: Map<number, Float32Array>,
): ReplayTable {
  const { numQueryHeads } = layout.shape;
  const tableOf = (layer: number) => {
    const made = tables.get(layer) ?? new Float32Array(numQueryHeads * width);
    tables.set(layer, made);
    return made;
  };
  return {
    get width() {
      return width;
    },
    get numQueries() {
      return numQueries;
    },
    layer: tableOf,
    replay(encoder, pass, observation, batch) {
      if (pass.index === 0 && observation.start === pass.cached) {
        [width, numQueries] = [pass.cached, 0];
        tables.clear();
      }
      const count = observation.tokenIds.length;
      const own = { from: pass.cached, to: observation.start + count };
      numQueries += count;
      for (const layer of batch.layers)
        encoder.run(queryAttention, {
          batch,
          sequenceIndex: 0,
          layer,
          // Copies: the encoder may run after the observation is gone.
          queries: encoder.upload(observation.queries(layer).slice()),
          factors: options.factors && encoder.upload(options.factors(observation, layer, pass)),
          start: observation.start,
          seen: [...options.seen(pass), own],
          scored: { from: pass.start, to: pass.end },
          reduce: options.reduce,
          table: hostTensor(tableOf(layer)),
          width,
        });
    },
    truncate(position) {
      for (const table of tables.values())
        for (let at = 0; at < table.length; at += width)
          table.fill(0, Math.min(width, position) + at, at + width);
    },
    fork: () =>
      withContents(
        layout,
        options,
        width,
        numQueries,
        new Map([...tables].map(([layer, table]) => [layer, table.slice()])),
      ),
  };
}

/**
 * The table of a sequence of the batch. Throws `missing-signal` where no pass was run since its
 * prompt was cached.
 */
export function replayTableOf(batch: KvBatch, sequenceIndex: number): ReplayTable {
  const table = batch.observers?.[sequenceIndex] as ReplayTable | undefined;
  if (table && table.width >= batch.nextPositions[sequenceIndex]!) return table;
  throw new KvCacheError(
    "missing-signal",
    `No replay pass over sequence ${batch.sequences[sequenceIndex]} was observed.`,
    {
      value: batch.sequences[sequenceIndex],
      remedy: "Compress when a prompt ends, where the engine runs the passes.",
    },
  );
}
