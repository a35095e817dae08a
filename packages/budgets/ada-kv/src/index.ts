import {
  type BudgetAllocator,
  checkFraction,
  checkOneOf,
  checkWholeNumber,
  sum,
} from "@kvcache/core";
import { blendedCounts, evenShare, pyramidBase, reservedCounts } from "@kvcache/kernels";

/** The authors' rule; protected tokens are kept on top of what is shared out. */
export interface FloorBlendOptions {
  readonly mode?: "floor-blend";
  /** Weight of the even split, in [0, 1]: 0 shares by scores alone, 1 evenly. Default 0.2. */
  readonly floor?: number;
  /** `reference` rounds every head for itself, so that totals drift; `exact` (default) keeps them. */
  readonly rounding?: "reference" | "exact";
  /** Weighs a head's scores by how concentrated they are. Default false. */
  readonly normalize?: boolean;
  /** Leading layers that are split evenly. Default 0. */
  readonly skipLayers?: number;
  /** The same for every layer (default), or falling from the first to the last. */
  readonly layerBudget?:
    | { readonly kind: "uniform" }
    | { readonly kind: "pyramid"; readonly beta?: number };
}

/** kvpress' rule; protected tokens are part of what is shared out. */
export interface ReserveThenGlobalOptions {
  readonly mode: "reserve-then-global";
  /** Part of its even share that each head is sure of, in [0, 1]. Default 0.2. */
  readonly safeguard?: number;
  /** Heads keep at least their protected tokens, also where a ratio asks for fewer. Default true. */
  readonly keepProtected?: boolean;
}

export type AdaKVBudgetOptions = FloorBlendOptions | ReserveThenGlobalOptions;

/**
 * Ada-KV — a layer's tokens go to the KV heads that hold its best scores.
 * `floor-blend` mixes that split with an even one; `reserve-then-global` secures a part of each
 * head's even share first. Scores are compared raw between the heads of a layer.
 * Feng et al. 2024, arXiv:2407.11550. Differs from the paper: every head keeps at least one token;
 * pyramid budgets are computed anew for every event, not once for the first prompt.
 */
export function adaKV(options: AdaKVBudgetOptions = {}): BudgetAllocator {
  if (options.mode === "reserve-then-global") return reserveThenGlobal(options);
  checkOneOf<string>("mode", options.mode ?? "floor-blend", ["floor-blend", "reserve-then-global"]);
  return floorBlend(options);
}

function floorBlend({
  floor = 0.2,
  rounding = "exact",
  normalize = false,
  skipLayers = 0,
  layerBudget: shape = { kind: "uniform" },
}: FloorBlendOptions): BudgetAllocator {
  checkFraction("floor", floor);
  checkOneOf("rounding", rounding, ["reference", "exact"]);
  checkWholeNumber("skipLayers", skipLayers, 0);
  checkOneOf("layerBudget.kind", shape.kind, ["uniform", "pyramid"]);
  const layerBudget = shape.kind === "pyramid" ? { beta: 20, ...shape } : shape;
  if (layerBudget.kind === "pyramid") checkWholeNumber("layerBudget.beta", layerBudget.beta, 1);
  return Object.freeze<BudgetAllocator>({
    name: "ada-kv",
    needs: [],
    resolve(request) {
      const { lengths, layout, protect } = request;
      const { numLayers, numKvHeads } = layout.shape;
      const rows = evenShare(request, true);
      if (layerBudget.kind === "uniform")
        return Math.min(sum(lengths), sum(rows) + drift(rounding, rows.length));
      const kept = protect.sinks + protect.recent;
      const longest = lengths.reduce((most, length) => Math.max(most, length), 0);
      const candidates = Math.max(0, longest - kept);
      const base = Math.max(0, rows.reduce((most, tokens) => Math.max(most, tokens), 0) - kept);
      let tokens = 0;
      for (let layer = 0; layer < numLayers; layer++) {
        const share = pyramidBase(base, candidates, layer, numLayers, layerBudget.beta);
        tokens += numKvHeads * Math.max(1, kept + share);
      }
      return Math.min(sum(lengths), tokens + drift(rounding, rows.length));
    },
    allocate: (encoder, { batch, target, scores }, counts) =>
      encoder.run(blendedCounts, {
        batch,
        target,
        scores,
        floor,
        rounding: rounding === "exact" ? "exact" : "half-even",
        normalize,
        skipLayers,
        layerBudget,
        counts,
      }),
  });
}

/** Rounding each row for itself adds at most half a token a row; a row never stays empty. */
const drift = (rounding: "reference" | "exact", rows: number) => (rounding === "exact" ? 0 : rows);

function reserveThenGlobal({
  safeguard = 0.2,
  keepProtected = true,
}: ReserveThenGlobalOptions): BudgetAllocator {
  checkFraction("safeguard", safeguard);
  return Object.freeze<BudgetAllocator>({
    name: "ada-kv",
    needs: [],
    resolve: (request) => sum(evenShare(request, keepProtected)),
    allocate: (encoder, { batch, target, scores }, counts) =>
      encoder.run(reservedCounts, { batch, target, scores, safeguard, keepProtected, counts }),
  });
}
