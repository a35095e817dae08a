import { type AdaKVBudgetOptions, adaKV as adaKVBudget } from "@kvcache/budget-ada-kv";
import { blockSchedule } from "@kvcache/budget-block-schedule";
import type { BudgetAllocator, BudgetTarget, EvictionPolicy, Protect, Scorer } from "@kvcache/core";
import { createPolicy } from "@kvcache/policies";
import { keyNorm, windowAttention } from "@kvcache/scorers";
import type { VectorCase } from "./case.ts";

type Params = Readonly<Record<string, unknown>>;

/** What a case runs, or why it cannot be run here. */
export type Method =
  | { readonly policy: EvictionPolicy; readonly target: BudgetTarget }
  | { readonly skip: string };

/** A budget alone, for cases that give the scores. */
export type BudgetMethod =
  | { readonly budget: BudgetAllocator; readonly target: BudgetTarget; readonly protect: Protect }
  | { readonly skip: string };

/** Policy and target of a case of kind keep or scores. */
export function methodOf(vector: VectorCase): Method {
  const make = policyOf[vector.method];
  return make ? make(vector.params) : { skip: `no policy for method ${vector.method}` };
}

const policyOf: Readonly<Record<string, (params: Params) => Method>> = {
  "streaming-llm": ({ sinks, ...params }) => ({
    policy: createPolicy("streaming-llm", { sinks, keepProtected: false }),
    target: targetOf(params),
  }),
  "snap-kv": (params) => ({
    policy: createPolicy("snap-kv", {
      ...pick(params, ["variant", "window", "pooling", "groupReduce"]),
      keepProtected: false,
    }),
    target: targetOf(params),
  }),
  "ada-kv": adaKVOf,
  "kv-compress": (params) => {
    const protect = (params.protect ?? { sinks: 0, recent: 0 }) as Protect;
    const policy = createPolicy("kv-compress", {
      ...pick(params, ["observed", "buffer", "norm", "pooling", "slab", "groupReduce"]),
      sinks: protect.sinks,
      protectedWindow: protect.recent,
    });
    const target = params.target as { blocks?: number } & BudgetTarget;
    return target?.blocks === undefined
      ? { policy, target: target ?? { ratio: 1 } }
      : { policy: { ...policy, budget: blockScheduleOf(params) }, target: { ratio: 1 } };
  },
};

/** Ada-KV over another method's scores (kvpress), or over the authors' own. */
function adaKVOf(params: Params): Method {
  const target = targetOf(params);
  if (params.scorer === undefined)
    return {
      policy: createPolicy("ada-kv", {
        ...pick(params, ["window", "pooling", "groupReduce"]),
        variant: params.variant === "kvcache-factory" ? "kvcache-factory" : "authors",
        budget: adaKVBudgetOf(params),
      }),
      target,
    };
  const base = baseScorer(params.scorer as Params & { method: string });
  if ("skip" in base) return base;
  const budget = { ...adaKVBudgetOf({ ...params, mode: "reserve-then-global" }) };
  return {
    policy: createPolicy("ada-kv", { ...base, budget: { ...budget, keepProtected: false } }),
    target,
  };
}

/** The scorer that a wrapping method names, and what it protects. */
function baseScorer({
  method,
  ...params
}: Params & { method: string }): { scorer: Scorer; protect: Protect } | { skip: string } {
  if (method === "snap-kv") {
    const policy = createPolicy("snap-kv", pick(params, ["window", "pooling"]));
    return { scorer: policy.scorer, protect: policy.protect };
  }
  if (method === "knorm") return { scorer: keyNorm(), protect: { sinks: 0, recent: 0 } };
  if (method === "tova")
    return {
      scorer: windowAttention({ window: 1, allHeads: true }),
      protect: { sinks: 0, recent: 1 },
    };
  return { skip: `no scorer for method ${method}` };
}

/** Budget, target and protection of a case of kind budget. */
export function budgetOf(vector: VectorCase): BudgetMethod {
  if (vector.method !== "ada-kv") return { skip: `no budget for method ${vector.method}` };
  return {
    budget: adaKVBudget(adaKVBudgetOf(vector.params)),
    target: targetOf(vector.params),
    protect: { sinks: 0, recent: (vector.params.window as number | undefined) ?? 0 },
  };
}

const adaKVBudgetOf = (params: Params): AdaKVBudgetOptions =>
  params.mode === "reserve-then-global"
    ? ({
        mode: "reserve-then-global",
        ...pick(params, ["safeguard"]),
      } as AdaKVBudgetOptions)
    : (pick(params, [
        "floor",
        "rounding",
        "normalize",
        "skipLayers",
        "layerBudget",
      ]) as AdaKVBudgetOptions);

/** The block schedule of a KV-Compress case; its target may be a number of blocks. */
export function blockScheduleOf(params: Params): BudgetAllocator {
  const { blocks } = (params.target ?? {}) as { blocks?: number };
  return blockSchedule({
    protectedWindow: (params.protect as Protect | undefined)?.recent ?? 64,
    ...(blocks !== undefined && { evictBlocks: blocks }),
  });
}

const targetOf = ({ tokens, ratio }: Params): BudgetTarget =>
  tokens === undefined ? { ratio: (ratio ?? 1) as number } : { tokens: tokens as number };

/** The given parameters that a case has, so that ours default to their own. */
const pick = (params: Params, names: readonly string[]): Record<string, unknown> =>
  Object.fromEntries(names.filter((name) => name in params).map((name) => [name, params[name]]));
