import { type CachePlan, type EvictionPolicy, KvCacheError } from "@kvcache/core";
import { createPolicy } from "@kvcache/policies";
import { anyFile, methodFile, type ReadFile } from "./method-files.ts";
import { type OptionTree, type PlanValue, type PolicyCall, readPlan } from "./plan-syntax.ts";
import { parseBudget } from "./quantities.ts";

type Options = Readonly<Record<string, unknown>>;

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

/** What policies were made with, whole: their own `options` only name the files and policies inside. */
const givenOptions = new WeakMap<EvictionPolicy, Options>();

function made(name: string, options: Options): EvictionPolicy {
  const policy = createPolicy(name, options);
  givenOptions.set(policy, options);
  return policy;
}

/** A policy that {@link parsePlan} made, with other options beside those that it has. */
export function withOptions(policy: EvictionPolicy, options: Options): EvictionPolicy {
  const { name } = policy;
  // A variant's defaults stay: every option is said, those from files by their contents.
  return made(name, { ...policy.options, ...givenOptions.get(policy), ...options });
}

/**
 * The policy that a text names. A group of which one field is given keeps its other defaults, those
 * of the variant and the other options that stand beside it.
 */
function policyOf({ name, options }: PolicyCall, readFile: ReadFile): EvictionPolicy {
  const built = [...options].map(
    ([key, value]) => [key, methodFile(name, key, resolved(value, readFile), readFile)] as const,
  );
  const isPart = (key: string) => options.get(key) instanceof Map;
  const plain = Object.fromEntries(built.filter(([key]) => !isPart(key)));
  if (built.length === Object.keys(plain).length) return made(name, plain);
  const defaults = createPolicy(name, plain).options;
  return made(
    name,
    Object.fromEntries(
      built.map(([key, value]) => [key, isPart(key) ? over(defaults[key], value) : value]),
    ),
  );
}

function resolved(value: PlanValue | OptionTree, readFile: ReadFile): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => resolved(item, readFile));
  if (value instanceof Map)
    return Object.fromEntries([...value].map(([key, inner]) => [key, resolved(inner, readFile)]));
  return policyOf(value as PolicyCall, readFile);
}

/**
 * A plan as text: `<policy>[@budget]`, for example `snap-kv:window=32@0.25`,
 * `ada-kv(policy=key-diff,safeguard=.1)@0.25` or `kv-zap(surrogate=weights.safetensors)@512`. `full`
 * and policies that decide themselves how much they keep need no budget; every other one does. Options that take what was measured or trained name a
 * file, or `tiny` for that of model-tiny.
 */
export function parsePlan(
  text: string,
  fallbackBudget?: string,
  readFile: ReadFile = anyFile,
): CachePlan {
  const { call, ...plan } = readPlan(text);
  const policy = policyOf(call, readFile);
  // What decides itself how much it keeps takes this one only.
  const own = policy.name !== "full" && policy.budget.withoutTarget !== undefined ? "1" : undefined;
  const budget = plan.budget ?? fallbackBudget ?? own;
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
