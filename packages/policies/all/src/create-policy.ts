import { type EvictionPolicy, KvCacheError } from "@kvcache/core";
import { policies } from "./policies.ts";

/** Names that {@link createPolicy} knows, sorted. */
export const policyNames: readonly string[] = /* @__PURE__ */ Object.keys(policies).sort();

/**
 * Makes a policy by name, for servers and command lines: options are plain JSON. Throws `not-found`
 * for an unknown name and `invalid-argument` for an unknown option.
 */
export function createPolicy(
  name: string,
  options: Readonly<Record<string, unknown>> = {},
): EvictionPolicy {
  if (!Object.hasOwn(policies, name))
    throw new KvCacheError("not-found", `There is no policy named "${name}".`, {
      value: name,
      remedy: `Did you mean ${nearest(name, policyNames, 3).join(", ")}? All: ${policyNames.join(", ")}.`,
    });
  const make = policies[name as keyof typeof policies] as (options: object) => EvictionPolicy;
  const policy = make(options);
  for (const option of Object.keys(options))
    if (!Object.hasOwn(policy.options, option))
      throw new KvCacheError("invalid-argument", `Policy ${name} has no option "${option}".`, {
        value: option,
        remedy: `It takes: ${Object.keys(policy.options).join(", ") || "none"}.`,
      });
  return policy;
}

/** The `count` names closest to a misspelt one. */
function nearest(name: string, names: readonly string[], count: number): readonly string[] {
  const distance = (other: string) => editDistance(plain(name), plain(other));
  return [...names].sort((a, b) => distance(a) - distance(b)).slice(0, count);
}

const plain = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, "");

/** Insertions, deletions and replacements that turn one word into the other. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++)
      row[j] = Math.min(
        previous[j]! + 1,
        row[j - 1]! + 1,
        previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1),
      );
    previous = row;
  }
  return previous[b.length]!;
}
