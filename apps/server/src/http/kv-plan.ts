import {
  type BudgetTarget,
  type CachePlan,
  checkTarget,
  definePolicy,
  type EvictionPolicy,
  KvCacheError,
} from "@kvcache/core";
import { filesOf, type ReadFile } from "../method-files.ts";
import { parsePlan, withOptions } from "../plan-spec.ts";
import { parseBytes } from "../quantities.ts";
import { invalidField } from "./api-error.ts";
import { lru } from "./lru.ts";
import type { KvFields } from "./schemas/kv.ts";

/** The fields of a request that say which tokens stay. */
export interface KvRequest {
  readonly kv?: KvFields | null | undefined;
  readonly max_cache_tokens?: number | null | undefined;
  readonly protected_window_size?: number | null | undefined;
  readonly compress_once?: boolean | null | undefined;
}

export const policyName = (plan: CachePlan): string => plan.eviction?.policy.name ?? "full";

/**
 * Makes plans from requests. Equal requests get the same plan object, so that their sequences are
 * compressed in one batch. `readFile` gives the profiles and weights that they may name; none beside
 * the shipped ones by default. Every error is a 400 that names `kv`.
 */
export function createPlanner(
  defaultPlan: CachePlan,
  readFile: ReadFile = filesOf(undefined),
): (request: KvRequest) => CachePlan {
  const plans = lru<CachePlan>(256);
  return ({ kv, max_cache_tokens, protected_window_size, compress_once }) => {
    const { compressAfter: _, snapshot: __, ...fields } = kv ?? {};
    const wishes: Wishes = {
      ...fields,
      budget: fields.budget ?? (max_cache_tokens ? { tokens: max_cache_tokens } : undefined),
      recent: fields.protect?.recent ?? protected_window_size,
      once: compress_once,
    };
    const given = Object.values(wishes).some((value) => value !== undefined && value !== null);
    if (!given) return defaultPlan;
    try {
      return plans(JSON.stringify(wishes), () => planOf(wishes, defaultPlan, readFile));
    } catch (cause) {
      if (cause instanceof KvCacheError) throw invalidField("kv", cause.message, cause);
      throw invalidField("kv", "kv.policy has options that its policy cannot use.", cause);
    }
  };
}

type Wishes = Omit<KvFields, "compressAfter" | "snapshot"> & {
  readonly recent?: number | null | undefined;
  readonly once?: boolean | null | undefined;
};

function planOf(wishes: Wishes, defaultPlan: CachePlan, readFile: ReadFile): CachePlan {
  const base = basePlan(wishes, defaultPlan, readFile);
  if (!base.eviction) {
    const [wish] = Object.entries({ ...wishes, policy: null }).find(([, value]) => value) ?? [];
    if (wish === undefined) return base;
    throw new KvCacheError("invalid-argument", `The full cache takes no ${wish}.`, {
      value: wish,
      remedy: "Name a policy that evicts in kv.policy.",
    });
  }
  return {
    ...base,
    eviction: { ...base.eviction, policy: adjusted(base.eviction.policy, wishes) },
  };
}

/** Policy and budget. */
function basePlan(
  { policy, budget }: Wishes,
  defaultPlan: CachePlan,
  readFile: ReadFile,
): CachePlan {
  const target = budget ? targetOf(budget) : undefined;
  if (policy === undefined || policy === null)
    return defaultPlan.eviction && target
      ? { ...defaultPlan, eviction: { ...defaultPlan.eviction, target } }
      : defaultPlan;
  const name = policy === "auto" ? "dbudget-kv" : policy;
  // A policy that finds its own budget is capped by all there is.
  const fallback = policy === "auto" || target ? "1" : undefined;
  const plan = parsePlan(name, name === "full" ? undefined : fallback, readFile);
  return plan.eviction && target ? { ...plan, eviction: { ...plan.eviction, target } } : plan;
}

function targetOf(budget: NonNullable<Wishes["budget"]>): BudgetTarget {
  if ("bytes" in budget && typeof budget.bytes === "string")
    return checkTarget({ bytes: parseBytes(budget.bytes) });
  return checkTarget(budget as BudgetTarget);
}

/** The policy with other options where it has them, else with other fields. */
function adjusted(policy: EvictionPolicy, wishes: Wishes): EvictionPolicy {
  const { window, interval, once, recent } = wishes;
  const sinks = wishes.protect?.sinks;
  const has = (option: string) => Object.hasOwn(policy.options, option);
  const options: Record<string, unknown> = {};
  if (window) {
    const option = ["window", "observed"].find(has);
    if (!option)
      throw new KvCacheError("invalid-argument", `Policy ${policy.name} observes no window.`, {
        value: window,
        remedy: "Leave kv.window out.",
      });
    options[option] = window;
  }
  if (typeof sinks === "number" && has("sinks")) options.sinks = sinks;
  if (interval && has("interval")) options.interval = interval;
  // That window counts the token about to be cached too.
  if (typeof recent === "number" && has("protectedWindow")) options.protectedWindow = recent + 1;

  const { name } = policy;
  const remade = Object.keys(options).length > 0 ? withOptions(policy, options) : policy;
  const { specificationVersion: _, ...fields } = remade;
  const protect = {
    sinks: sinks ?? fields.protect.sinks,
    recent: recent ?? fields.protect.recent,
  };
  if (protect.recent < fields.protect.recent)
    throw new KvCacheError(
      "invalid-argument",
      `Policy ${name} protects its last ${fields.protect.recent} tokens.`,
      { value: recent, remedy: "Protect more, or lower kv.window." },
    );
  const trigger = {
    prefill: fields.trigger.prefill,
    pressure: fields.trigger.pressure,
    ...(once
      ? {}
      : (interval ?? fields.trigger.interval)
        ? { interval: interval ?? fields.trigger.interval! }
        : {}),
  };
  const moments = { ...(interval ? { interval } : {}), ...(once ? { once } : {}) };
  return definePolicy({ ...fields, protect, trigger, options: { ...fields.options, ...moments } });
}
