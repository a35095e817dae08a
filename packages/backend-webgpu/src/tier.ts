import { KvCacheError } from "@kvcache/core";

/**
 * What kernels may use beyond WebGPU's core. T0: float32, no subgroups. T1: subgroups. T2: float16
 * arithmetic. T3: subgroup matrices (tensor cores). Each includes those before it.
 */
export const tiers = ["T0", "T1", "T2", "T3"] as const;
export type Tier = (typeof tiers)[number];

/** The best tier that has kernels of its own; those of a lower one run on every device above it. */
export const builtTier: Tier = "T1";

const steps: readonly { readonly tier: Tier; readonly feature: string }[] = [
  { tier: "T1", feature: "subgroups" },
  { tier: "T2", feature: "shader-f16" },
  { tier: "T3", feature: "chromium-experimental-subgroup-matrix" },
];

/** The best tier that a device with these features can run. */
export function detectTier(features: ReadonlySet<string>): Tier {
  let best: Tier = "T0";
  for (const { tier, feature } of steps) {
    if (!features.has(feature)) break;
    best = tier;
  }
  return best;
}

/** Features to ask a device for. */
export const tierFeatures = (tier: Tier): readonly string[] =>
  steps.filter((step) => tiers.indexOf(step.tier) <= tiers.indexOf(tier)).map((s) => s.feature);

const isAbove = (a: Tier, b: Tier) => tiers.indexOf(a) > tiers.indexOf(b);

/** The tier to run: the one asked for, or the best one that is built. Throws `unsupported`. */
export function chooseTier(features: ReadonlySet<string>, wanted?: Tier): Tier {
  const best = detectTier(features);
  if (wanted === undefined) return isAbove(best, builtTier) ? builtTier : best;
  if (!tiers.includes(wanted))
    throw new KvCacheError("invalid-argument", `There is no tier ${wanted}.`, {
      value: wanted,
      remedy: `Use one of ${tiers.join(", ")}.`,
    });
  if (isAbove(wanted, best) || isAbove(wanted, builtTier))
    throw new KvCacheError(
      "unsupported",
      `Tier ${wanted} is out of reach: this device can run ${best}, kernels exist for ${builtTier}.`,
      { value: wanted, remedy: "Leave tier out to get the best one." },
    );
  return wanted;
}
