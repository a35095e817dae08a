import type { CachePlan } from "@kvcache/core";
import { createPolicy } from "@kvcache/policies";
import { policyChoices } from "../policy-choices.ts";
import type { SidePlan } from "../protocol.ts";

/** The plan that a side chose. Throws `not-found` for a policy that does not exist. */
export function planOf({ policy, ratio }: SidePlan): CachePlan {
  if (policy === "full") return {};
  const options = policyChoices.find(({ name }) => name === policy)?.options;
  return { eviction: { policy: createPolicy(policy, options), target: { ratio } } };
}
