import { type AdaKVBudgetOptions, adaKV as adaKVBudget } from "@kvcache/budget-ada-kv";
import { blockSchedule } from "@kvcache/budget-block-schedule";
import type { BudgetAllocator, BudgetTarget, Protect } from "@kvcache/core";
import { createPolicy } from "@kvcache/policies";
import {
  type BudgetMethod,
  type Method,
  type MethodContext,
  type MethodTable,
  type Params,
  pick,
  targetOf,
} from "../method.ts";

/** The methods that the main road carries. */
export const mainRoad: MethodTable = {
  "streaming-llm": {
    policy: (params) => ({
      policy: createPolicy("streaming-llm", { ...sinksOf(params), keepProtected: false }),
      target: targetOf(params),
    }),
  },
  "snap-kv": {
    policy: (params) => ({
      policy: createPolicy("snap-kv", {
        ...pick(params, ["variant", "window", "pooling", "groupReduce"]),
        keepProtected: false,
      }),
      target: targetOf(params),
    }),
  },
  "ada-kv": { policy: adaKVOf, budget: adaKVBudgetMethod },
  "kv-compress": { policy: kvCompressOf, exact: true },
};

/** Sinks, or what a budget leaves of a window. */
function sinksOf({ sinks, tokens, window }: Params): Params {
  if (sinks !== undefined) return { sinks };
  return window === undefined ? {} : { sinks: (tokens as number) - (window as number) };
}

function kvCompressOf(params: Params): Method {
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
}

/** Ada-KV over another method's scores (kvpress), or over the authors' own. */
function adaKVOf(params: Params, { policyOf }: MethodContext): Method {
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
  const base = policyOf(params.scorer);
  if ("skip" in base) return base;
  const budget = { ...adaKVBudgetOf({ ...params, mode: "reserve-then-global" }) };
  return {
    policy: createPolicy("ada-kv", { policy: base, budget: { ...budget, keepProtected: false } }),
    target,
  };
}

/** Over given scores. */
function adaKVBudgetMethod(params: Params): BudgetMethod {
  return {
    budget: adaKVBudget(adaKVBudgetOf(params)),
    target: targetOf(params),
    protect: { sinks: 0, recent: (params.window as number | undefined) ?? 0 },
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
