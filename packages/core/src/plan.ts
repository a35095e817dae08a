import { type BudgetTarget, checkTarget } from "./budget-target.ts";
import { KvCacheError } from "./errors.ts";
import type { EntryLayout } from "./layout.ts";
import { type EvictionPolicy, signalsOf } from "./policy.ts";
import type { KvShape } from "./shape.ts";
import type { SignalKind } from "./signal.ts";

/** How kept entries are stored, per layer. */
export interface Codec {
  readonly name: string;
  key(layer: number, shape: KvShape): EntryLayout;
  value(layer: number, shape: KvShape): EntryLayout;
}

/** layer → the layer whose blocks it reads; a layer that owns its blocks names itself. */
export type LayerMap = readonly number[];

/** One answer to each question: which tokens stay, how they are stored, who stores them. */
export interface CachePlan {
  readonly eviction?: { readonly policy: EvictionPolicy; readonly target: BudgetTarget };
  readonly codec?: Codec;
  readonly layerMap?: LayerMap;
}

/** What a plan is checked against. */
export interface PlanEnvironment {
  readonly shape: KvShape;
  readonly signals: readonly SignalKind[];
  /** Queries that the cache keeps for scoring. */
  readonly windowSize: number;
  /** Of the model, where it is known: what profiles and weights of methods are bound to. */
  readonly fingerprint?: string;
}

/** Checks that the parts can work together here, once, and freezes the plan. */
export function validatePlan(plan: CachePlan, environment: PlanEnvironment): CachePlan {
  const { shape } = environment;
  if (plan.eviction) {
    const { policy, target } = plan.eviction;
    checkTarget(target);
    const { withoutTarget } = policy.budget;
    if (withoutTarget !== undefined && !("ratio" in target && target.ratio === 1))
      throw new KvCacheError(
        "invalid-plan",
        `Policy ${policy.name} cannot be told to keep ${JSON.stringify(target)}: ${withoutTarget}.`,
        { value: target, remedy: "Use it with { ratio: 1 }, and set its own options." },
      );
    policy.scorer.checkShape?.(shape, environment.fingerprint);
    policy.budget.checkShape?.(shape, environment.fingerprint);
    for (const signal of signalsOf(policy)) {
      if (!environment.signals.includes(signal.kind))
        throw new KvCacheError(
          "missing-signal",
          `Policy ${policy.name} needs the signal ${signal.kind}, which this backend cannot give.`,
          {
            value: signal,
            remedy: `This backend gives: ${environment.signals.join(", ") || "none"}.`,
          },
        );
      if (signal.kind === "windowQueries" && signal.window > environment.windowSize)
        throw new KvCacheError(
          "invalid-plan",
          `Policy ${policy.name} observes ${signal.window} queries, the cache keeps ${environment.windowSize}.`,
          {
            value: signal.window,
            remedy: `Create the cache with windowSize ≥ ${signal.window}.`,
          },
        );
    }
    const { sinks, recent } = policy.protect;
    if ("tokens" in target && target.tokens < sinks + recent)
      throw new KvCacheError(
        "invalid-plan",
        `A budget of ${target.tokens} tokens is below the ${sinks + recent} that ${policy.name} protects.`,
        {
          value: target.tokens,
          remedy: `Use at least ${sinks + recent} tokens, or protect fewer.`,
        },
      );
  }
  if (plan.layerMap) {
    if (plan.layerMap.length !== shape.numLayers)
      throw new KvCacheError(
        "invalid-plan",
        `layerMap has ${plan.layerMap.length} entries for ${shape.numLayers} layers.`,
        {
          value: plan.layerMap,
        },
      );
    plan.layerMap.forEach((owner, layer) => {
      if (
        !Number.isInteger(owner) ||
        owner < 0 ||
        owner >= shape.numLayers ||
        plan.layerMap![owner] !== owner
      )
        throw new KvCacheError(
          "invalid-plan",
          `layerMap sends layer ${layer} to ${owner}, which does not own blocks.`,
          {
            value: owner,
            remedy: "Send a layer to one that maps to itself.",
          },
        );
    });
    if (plan.eviction && plan.layerMap.some((owner, layer) => owner !== layer))
      throw new KvCacheError(
        "invalid-plan",
        "Layers that share blocks cannot evict apart from each other.",
        {
          value: plan.layerMap,
          remedy: "Drop the eviction or the layer map.",
        },
      );
  }
  return Object.freeze({ ...plan });
}

/** Text that names everything the kept set depends on: equal plans have equal fingerprints. */
export function planFingerprint(plan: CachePlan): string {
  const { eviction, codec, layerMap } = plan;
  return JSON.stringify([
    eviction ? [...policyFingerprint(eviction.policy), eviction.target] : null,
    codec?.name ?? null,
    layerMap ?? null,
  ]);
}

/** A policy's parts stand for themselves by name: policies may be put together from any. */
const policyFingerprint = (policy: EvictionPolicy): readonly unknown[] => [
  policy.name,
  policy.options,
  policy.protect,
  policy.trigger,
  [policy.scorer.name, policy.scorer.options],
  policy.budget.name,
  policy.selector.name,
  policy.transform?.name,
  policy.readSelector?.name,
];
