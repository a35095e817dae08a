import { type CachePlan, KvCacheError } from "@kvcache/core";
import { createPolicy } from "@kvcache/policies";
import { parseBudget } from "./quantities.ts";

type Options = Record<string, unknown>;

/** "32" → 32, "true" → true, "avg" → "avg". */
function parseValue(text: string): unknown {
  if (text === "true" || text === "false") return text === "true";
  const number = Number(text);
  return text !== "" && !Number.isNaN(number) ? number : text;
}

/** "window=32,pooling.size=21" → { window: 32, pooling: { size: 21 } }. */
function parseOptions(text: string): Options {
  const options: Options = {};
  for (const pair of text.split(",").filter(Boolean)) {
    const [path, value, ...rest] = pair.split("=");
    if (value === undefined || rest.length > 0 || !path || path.includes("__proto__"))
      throw new KvCacheError("invalid-argument", `"${pair}" is not a policy option.`, {
        value: pair,
        remedy: "Write name=value, for example snap-kv:window=32,pooling.size=21.",
      });
    const keys = path.split(".");
    let target = options;
    for (const key of keys.slice(0, -1)) {
      target[key] ??= {};
      target = target[key] as Options;
    }
    target[keys.at(-1)!] = parseValue(value);
  }
  return options;
}

const isObject = (value: unknown): value is Options =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Options that name one field of a group keep the group's other defaults. */
function overDefaults(name: string, options: Options): Options {
  const defaults = createPolicy(name).options;
  return Object.fromEntries(
    Object.entries(options).map(([key, value]) => {
      const group = defaults[key];
      return [key, isObject(value) && isObject(group) ? { ...group, ...value } : value];
    }),
  );
}

/**
 * A plan as text: `<policy>[:option=value,…][@budget]`, for example `snap-kv:window=32@0.25`.
 * `full` needs no budget; every other policy does.
 */
export function parsePlan(text: string, fallbackBudget?: string): CachePlan {
  const match = /^([^:@]+)(?::([^@]*))?(?:@(.+))?$/.exec(text.trim());
  if (!match)
    throw new KvCacheError("invalid-argument", `"${text}" is not a plan.`, {
      value: text,
      remedy: "Write <policy>[:option=value,…][@budget], for example snap-kv@0.25.",
    });
  const [, name, optionText = "", budget = fallbackBudget] = match;
  const policy = createPolicy(name!, overDefaults(name!, parseOptions(optionText)));
  if (policy.name === "full") {
    if (budget === undefined) return {};
    throw new KvCacheError("invalid-argument", "The full cache takes no budget.", {
      value: budget,
      remedy: "Name a policy that evicts, for example --policy snap-kv, or leave the budget out.",
    });
  }
  if (budget === undefined)
    throw new KvCacheError("invalid-argument", `Policy ${name} needs a budget.`, {
      value: text,
      remedy: `Write ${name}@0.25 to keep a quarter, or pass --budget.`,
    });
  return { eviction: { policy, target: parseBudget(budget) } };
}
