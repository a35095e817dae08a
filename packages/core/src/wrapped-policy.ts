import { KvCacheError } from "./errors.ts";
import type { EvictionPolicy } from "./policy.ts";

/**
 * The policy that another one wraps, as that one's option `name`. Throws `invalid-argument` for
 * anything else, a description of a policy for example, and `invalid-plan` for a policy that only
 * chooses what is read.
 */
export function checkPolicy(name: string, value: unknown): EvictionPolicy {
  const policy = value as Partial<EvictionPolicy> | null | undefined;
  if (policy?.readSelector)
    throw new KvCacheError("invalid-plan", `Policy ${policy.name} evicts nothing to build on.`, {
      value: policy.name,
      remedy: "Use it by itself.",
    });
  if (policy?.specificationVersion === 1 && typeof policy.scorer?.score === "function")
    return policy as EvictionPolicy;
  throw new KvCacheError(
    "invalid-argument",
    `${name} must be a policy, got ${JSON.stringify(value)}.`,
    {
      value,
      remedy: "Call its factory, or createPolicy, which makes policies of their names.",
    },
  );
}

/** A wrapped policy among the options of the one around it: JSON that createPolicy takes back. */
export const policyOption = (
  policy: EvictionPolicy | null | undefined,
): Readonly<Record<string, unknown>> | null =>
  policy ? { name: policy.name, ...policy.options } : null;
