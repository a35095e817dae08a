import { type CachePlan, type EvictionPolicy, KvCacheError } from "@kvcache/core";
import { createPolicy } from "@kvcache/policies";
import { type OptionTree, type PlanValue, type PolicyCall, readPlan } from "./plan-syntax.ts";
import { parseBudget } from "./quantities.ts";

const isGroup = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" &&
  value !== null &&
  !Array.isArray(value) &&
  !("specificationVersion" in value);

/** Fields that are given, over the group's others. */
const over = (defaults: unknown, given: unknown): unknown =>
  isGroup(given) && isGroup(defaults)
    ? {
        ...defaults,
        ...Object.fromEntries(
          Object.entries(given).map(([key, value]) => [key, over(defaults[key], value)]),
        ),
      }
    : given;

/**
 * The policy that a text names. A group of which one field is given keeps its other defaults, those
 * of the variant and the other options that stand beside it.
 */
function policyOf({ name, options }: PolicyCall): EvictionPolicy {
  const built = [...options].map(([key, value]) => [key, resolved(value)] as const);
  const plain = Object.fromEntries(built.filter(([, value]) => !isGroup(value)));
  if (built.length === Object.keys(plain).length) return createPolicy(name, plain);
  const defaults = createPolicy(name, plain).options;
  return createPolicy(
    name,
    Object.fromEntries(built.map(([key, value]) => [key, over(defaults[key], value)])),
  );
}

function resolved(value: PlanValue | OptionTree): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(resolved);
  if (value instanceof Map)
    return Object.fromEntries([...value].map(([key, inner]) => [key, resolved(inner)]));
  return policyOf(value as PolicyCall);
}

/**
 * A plan as text: `<policy>[@budget]`, for example `snap-kv:window=32@0.25`,
 * `ada-kv(policy=key-diff,safeguard=.1)@0.25` or `chunk-kv(policy=snap-kv(window=32))@512`. `full`
 * needs no budget; every other policy does.
 */
export function parsePlan(text: string, fallbackBudget?: string): CachePlan {
  const { call, budget = fallbackBudget } = readPlan(text);
  const policy = policyOf(call);
  if (policy.name === "full") {
    if (budget === undefined) return {};
    throw new KvCacheError("invalid-argument", "The full cache takes no budget.", {
      value: budget,
      remedy: "Name a policy that evicts, for example --policy snap-kv, or leave the budget out.",
    });
  }
  if (budget === undefined)
    throw new KvCacheError("invalid-argument", `Policy ${policy.name} needs a budget.`, {
      value: text,
      remedy: `Write ${policy.name}@0.25 to keep a quarter, or pass --budget.`,
    });
  return { eviction: { policy, target: parseBudget(budget) } };
}
