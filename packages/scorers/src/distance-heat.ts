import {
  checkProfile,
  type HeadProfile,
  KvCacheError,
  type KvShape,
  profileArray,
  profileIdentity,
  type Scorer,
} from "@kvcache/core";
import { distanceRank, heatOrder } from "@kvcache/kernels";

export interface DistanceHeatOptions {
  /** Of kind heat-kv: array mass [numLayers, numKvHeads, stretches], settings.edges. */
  readonly profile: HeadProfile | null;
}

/**
 * The place of a token's head among all heads, by how much attention it pays to stretches at the
 * token's distance: 0 for the head that reads that stretch least. Whole stretches score alike, so a
 * threshold drops them from the heads that need them least. After HeatKV, arXiv:2605.14877.
 */
export function distanceHeat({ profile }: DistanceHeatOptions): Scorer {
  const prepared = profile && ranksOf(profile);
  const check = (shape: KvShape, fingerprint?: string) =>
    checkProfile("heat-kv", profile, shape, fingerprint);
  return Object.freeze<Scorer>({
    name: "distance-heat",
    options: { profile: profileIdentity(profile) },
    needs: [],
    checkShape: check,
    score(encoder, batch, out) {
      check(batch.shape);
      const { edges, ranks } = prepared!;
      encoder.run(distanceRank, { batch, edges, ranks: encoder.upload(ranks), out });
    },
  });
}

function ranksOf(profile: HeadProfile) {
  const edges = stretchEdges(profile.settings?.edges);
  const { numLayers, numKvHeads } = profile.shape ?? {};
  const stretches = edges.length + 1;
  const dimensions = ["numLayers", "numKvHeads", stretches] as const;
  const mass = profileArray(profile, "heat-kv", "mass", dimensions);
  const ranks = new Uint32Array(mass.length);
  heatOrder(mass, numLayers, numKvHeads).forEach((order, stretch) => {
    order.forEach((head, rank) => {
      ranks[head * stretches + stretch] = rank;
    });
  });
  return { edges, ranks };
}

/** Ends of stretches, checked. Throws `invalid-file` unless they ascend from above 0. */
export function stretchEdges(value: unknown): readonly number[] {
  const edges = Array.isArray(value) ? (value as number[]) : [];
  if (
    edges.length > 0 &&
    edges.every((edge, i) => Number.isInteger(edge) && edge > (edges[i - 1] ?? 0))
  )
    return edges;
  throw new KvCacheError("invalid-file", "A heat profile's edges must be ascending distances.", {
    value,
    remedy: "Write for example [64, 256, 1024, 4096].",
  });
}
