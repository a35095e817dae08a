import type { Observation, Observer, Signal } from "@kvcache/core";
import { mix, tapRow } from "./test-graph.ts";

/** An observer that checks what it is shown against the fake model, and keeps a hash of it. */
export interface TestObserver extends Observer {
  /** By position: a hash of the token. */
  readonly seen: number[];
  /** What replay passes added to cached positions. */
  readonly replayed: Map<number, number>;
}

const parts = {
  chunkQueries: [["queries", "query", 1]],
  queryStatistics: [["queriesPreRope", "q", 1]],
  hidden: [["hidden", "hidden", 1]],
  headOutputs: [
    ["headOutputs", "attention", 1],
    ["attentionOutput", "output", 0.5],
  ],
} as const;

export function testObserver(
  needs: readonly Signal[],
  seen: number[] = [],
  replayed = new Map<number, number>(),
): TestObserver {
  const named = needs.flatMap(({ kind }) => (kind in parts ? parts[kind as "hidden"] : []));
  const check = (observation: Observation) => {
    const { start, tokenIds } = observation;
    for (const [part, value, scale] of named)
      for (const layer of [0, 1]) {
        const wanted = Array.from(tokenIds, (id, i) =>
          tapRow(`${layer}.${value}`, id, start + i),
        ).flat();
        const got = observation[part](layer);
        if (got.length !== wanted.length || wanted.some((number, i) => got[i] !== number * scale))
          throw new Error(`Wrong ${part} of ${tokenIds.length} tokens at ${start}.`);
      }
  };
  return {
    seen,
    replayed,
    observe(_encoder, observation, batch) {
      const { start, tokenIds } = observation;
      if (start !== seen.length) throw new Error(`Saw ${seen.length} tokens, then ${start}.`);
      if (batch.nextPositions[0] !== start + tokenIds.length)
        throw new Error(`The batch goes on at ${batch.nextPositions[0]}.`);
      check(observation);
      for (const id of tokenIds) seen.push(mix(id, seen.length, 9) % 1000);
    },
    replay(_encoder, { start, end, index, cached }, observation, batch) {
      check(observation);
      const { tokenIds } = observation;
      if (batch.nextPositions[0] !== observation.start + tokenIds.length)
        throw new Error(`The batch goes on at ${batch.nextPositions[0]}.`);
      for (let position = start; position < Math.min(end, cached); position++) {
        const sum = tokenIds.reduce((total, id) => total + (mix(id, position, index) % 1000), 0);
        replayed.set(position, (replayed.get(position) ?? 0) + sum);
      }
    },
    truncate(position) {
      seen.length = Math.min(seen.length, position);
      for (const known of replayed.keys()) if (known >= position) replayed.delete(known);
    },
    fork: () => testObserver(needs, [...seen], new Map(replayed)),
  };
}
