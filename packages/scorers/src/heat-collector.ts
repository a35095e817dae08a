import {
  checkOneOf,
  checkWholeNumber,
  groupSize,
  type HeadProfile,
  headProfile,
  type KvShape,
  type Observer,
  type Scorer,
} from "@kvcache/core";
import { distanceMass } from "@kvcache/kernels";
import { type CollectorState, restoreInto } from "./collector-state.ts";
import { stretchEdges } from "./distance-heat.ts";
import { position } from "./position.ts";

export interface HeatCollectorOptions {
  /** Where stretches of distance end. Default 64, 256, 1024, 4096. */
  readonly edges?: readonly number[];
  /** max (default): no query head of a group loses what it reads. */
  readonly groupReduce?: "max" | "mean";
  /** Last queries of each pass that are looked at; null (default): all of them, which takes long. */
  readonly queriesPerPass?: number | null;
}

export interface HeatCollector {
  /** Observes every sequence of a policy that has it; its scores are positions. */
  readonly scorer: Scorer;
  /** The heat profile of everything seen so far. */
  profile(model: HeadProfile["model"]): HeadProfile;
  state(): CollectorState;
  /** Goes on from what an earlier run gathered. */
  restore(state: CollectorState): void;
}

/**
 * Measures how much attention the heads of a model pay to stretches of context, by distance: run
 * calibration texts through an engine under its scorer, with a full cache.
 */
export function heatCollector(shape: KvShape, options: HeatCollectorOptions = {}): HeatCollector {
  const { groupReduce = "max", queriesPerPass = null } = options;
  if (queriesPerPass !== null) checkWholeNumber("queriesPerPass", queriesPerPass, 1);
  checkOneOf("groupReduce", groupReduce, ["max", "mean"]);
  const edges = stretchEdges(options.edges ?? [64, 256, 1024, 4096]);
  const { numLayers, numQueryHeads, numKvHeads } = shape;
  const width = numQueryHeads * shape.headDim;
  const stretches = edges.length + 1;
  const mass = new Float64Array(numLayers * numQueryHeads * stretches);
  const seen = new Float64Array(stretches);
  const observer: Observer = {
    observe(encoder, { start, tokenIds, queries }, batch) {
      const count = Math.min(tokenIds.length, queriesPerPass ?? Number.POSITIVE_INFINITY);
      const skipped = tokenIds.length - count;
      encoder.run(distanceMass, {
        batch,
        queries: (layer) => queries(layer).subarray(skipped * width),
        start: start + skipped,
        count,
        edges,
        mass,
        seen,
      });
    },
    truncate() {},
    fork: () => observer,
  };
  return {
    scorer: Object.freeze<Scorer>({
      ...position(),
      name: "heat-collector",
      needs: [{ kind: "chunkQueries" }],
      createObserver: () => observer,
    }),
    state: () => ({ mass: mass.slice(), seen: seen.slice() }),
    restore(state) {
      restoreInto(mass, state, "mass");
      restoreInto(seen, state, "seen");
    },
    profile(model) {
      const group = groupSize(shape);
      const values = Array.from({ length: numLayers * numKvHeads * stretches }, (_, i) => {
        const [head, stretch] = [Math.floor(i / stretches), i % stretches];
        const members = Array.from(
          { length: group },
          (_, member) =>
            mass[(head * group + member) * stretches + stretch]! / Math.max(1, seen[stretch]!),
        );
        if (groupReduce === "max") return Math.max(...members);
        return members.reduce((sum, value) => sum + value, 0) / group;
      });
      return headProfile({
        kind: "heat-kv",
        model,
        shape: { numLayers, numQueryHeads, numKvHeads },
        settings: { edges, groupReduce, queries: seen[0] },
        arrays: { mass: { shape: [numLayers, numKvHeads, stretches], values } },
      });
    },
  };
}
