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
import { ApiError, invalidField } from "./api-error.ts";
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
 * the shipped ones by default. Every error is a 400 that names `kv`, or the field that is at fault
 * as the request wrote it.
 */
export function createPlanner(
  defaultPlan: CachePlan,
  readFile: ReadFile = filesOf(undefined),
): (request: KvRequest) => CachePlan {
  const plans = lru<CachePlan>(256);
  return (request) => {
    const { kv, max_cache_tokens, protected_window_size, compress_once } = request;
    const { policy, budget, protect, window, interval } = kv ?? {};
    const wishes: Wishes = {
      policy,
      budget: budget ?? (max_cache_tokens ? { tokens: max_cache_tokens } : undefined),
      sinks: protect?.sinks,
      recent: protect?.recent ?? protected_window_size,
      window,
      interval,
      once: compress_once,
    };
    const given = Object.values(wishes).some((value) => value !== undefined && value !== null);
    if (!given) return defaultPlan;
    try {
      const names = fieldNames(request);
      return plans(JSON.stringify(wishes), () => planOf(wishes, defaultPlan, readFile, names));
    } catch (cause) {
      if (cause instanceof ApiError) throw cause;
      if (cause instanceof KvCacheError) throw invalidField("kv", cause.message, cause);
      throw invalidField("kv", "kv.policy has options that its policy cannot use.", cause);
    }
  };
}

type Wishes = Pick<KvFields, "policy" | "budget" | "window" | "interval"> & {
  readonly sinks?: number | null | undefined;
  readonly recent?: number | null | undefined;
  readonly once?: boolean | null | undefined;
};

/** The fields of a request that wishes come from. */
type FieldNames = Readonly<Record<Exclude<keyof Wishes, "policy">, string>>;

/** vllm-kvcompress has names of its own for some: what counts is what the request wrote. */
const fieldNames = ({ kv }: KvRequest): FieldNames => ({
  budget: kv?.budget ? "kv.budget" : "max_cache_tokens",
  sinks: "kv.protect.sinks",
  recent: typeof kv?.protect?.recent === "number" ? "kv.protect.recent" : "protected_window_size",
  window: "kv.window",
  interval: "kv.interval",
  once: "compress_once",
});

function planOf(
  wishes: Wishes,
  defaultPlan: CachePlan,
  readFile: ReadFile,
  names: FieldNames,
): CachePlan {
  const base = basePlan(wishes, defaultPlan, readFile);
  if (!base.eviction) {
    const { policy: _, ...rest } = wishes;
    const wish = (Object.keys(rest) as (keyof FieldNames)[]).find((key) => rest[key]);
    if (wish === undefined) return base;
    const field = names[wish];
    throw invalidField(
      field,
      `The full cache takes no ${field}. Name a policy that evicts in kv.policy.`,
    );
  }
  return {
    ...base,
    eviction: { ...base.eviction, policy: adjusted(base.eviction.policy, wishes, names) },
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
function adjusted(policy: EvictionPolicy, wishes: Wishes, names: FieldNames): EvictionPolicy {
  const { window, interval, once, sinks, recent } = wishes;
  if (once && interval)
    throw invalidField(
      names.once,
      `${names.once} says that nothing is evicted while generating, ${names.interval} when. Leave one of them out.`,
    );
  const has = (option: string) => Object.hasOwn(policy.options, option);
  const options: Record<string, unknown> = {};
  if (window) {
    const option = ["window", "observed"].find(has);
    if (!option)
      throw invalidField(
        names.window,
        `Policy ${policy.name} observes no window. Leave ${names.window} out.`,
      );
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
    throw invalidField(
      names.recent,
      `Policy ${name} protects its last ${fields.protect.recent} tokens, ${names.recent} asks for ${protect.recent}. Protect more, or lower kv.window.`,
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
