import { type EvictionPolicy, KvCacheError } from "@kvcache/core";
import { nearest } from "./nearest.ts";
import { policies } from "./policies.ts";

type Options = Readonly<Record<string, unknown>>;

/** Names that {@link createPolicy} knows, sorted. */
export const policyNames: readonly string[] = /* @__PURE__ */ Object.keys(policies).sort();

/**
 * Makes a policy by name, for servers and command lines: options are plain JSON. A policy inside of
 * it (`policy`, `policies`, `prefill`, `decoding`) may be one, or a name, or `{ name, …options }`.
 * Throws `not-found` for an unknown name and `invalid-argument` for an unknown option, at any depth;
 * errors of inner policies begin with their path.
 */
export function createPolicy(name: string, options: Options = {}): EvictionPolicy {
  if (!Object.hasOwn(policies, name))
    throw new KvCacheError("not-found", `There is no policy named "${name}".`, {
      value: name,
      remedy: `Did you mean ${nearest(name, policyNames, 3).join(", ")}? All: ${policyNames.join(", ")}.`,
    });
  const make = policies[name as keyof typeof policies] as (options: Options) => EvictionPolicy;
  const policy = make(withPolicies(options));
  for (const option of Object.keys(options))
    if (!Object.hasOwn(policy.options, option))
      throw new KvCacheError("invalid-argument", `Policy ${name} has no option "${option}".`, {
        value: option,
        remedy: `It takes: ${Object.keys(policy.options).join(", ") || "none"}.`,
      });
  const defaults = make("variant" in options ? { variant: options.variant } : {}).options;
  for (const [option, value] of Object.entries(options))
    if (!isPolicyOption(option)) checkFields(name, option, value, defaults[option]);
  return policy;
}

const isPolicyOption = (option: string) =>
  ["policy", "policies", "prefill", "decoding"].includes(option);

/** The options, with policies in place of their names and descriptions. */
function withPolicies(options: Options): Options {
  return Object.fromEntries(
    Object.entries(options).map(([option, value]) => [
      option,
      !isPolicyOption(option)
        ? value
        : Array.isArray(value)
          ? value.map((item, i) => policyFrom(`${option}[${i}]`, item))
          : policyFrom(option, value),
    ]),
  );
}

/** What is neither a name nor a description is the factory's to judge. */
function policyFrom(path: string, value: unknown): unknown {
  const { name, ...options } = typeof value === "string" ? { name: value } : record(value);
  if (typeof name !== "string" || "specificationVersion" in options) return value;
  try {
    return createPolicy(name, options);
  } catch (cause) {
    if (!(cause instanceof KvCacheError)) throw cause;
    // Paths of policies further in are joined to this one's.
    const inner = /^(policy|policies\[\d+\]|prefill|decoding)[:.]/.test(cause.message);
    const message = `${path}${inner ? "." : ": "}${cause.message}`;
    throw new KvCacheError(cause.code, message, { value: cause.value, cause });
  }
}

const record = (value: unknown): Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};

/** Fields of groups whose defaults may leave some out. */
const knownFields: Readonly<Record<string, readonly string[]>> = {
  pooling: ["kind", "size"],
  protect: ["sinks", "recent"],
  target: ["tokens", "ratio", "bytes"],
  layerBudget: ["kind", "beta"],
  budget: [
    "mode",
    "floor",
    "rounding",
    "normalize",
    "skipLayers",
    "layerBudget",
    "safeguard",
    "keepProtected",
  ],
};

/** Throws for a field that a group of options does not have; groups of unknown form may have any. */
function checkFields(name: string, path: string, value: unknown, defaults: unknown): void {
  const known = new Set([
    ...(knownFields[path.split(".").at(-1)!] ?? []),
    ...Object.keys(record(defaults)),
  ]);
  if (known.size === 0) return;
  for (const [field, inner] of Object.entries(record(value))) {
    if (!known.has(field))
      throw new KvCacheError(
        "invalid-argument",
        `Policy ${name} has no option "${path}.${field}".`,
        { value: field, remedy: `${path} takes: ${[...known].join(", ")}.` },
      );
    checkFields(name, `${path}.${field}`, inner, record(defaults)[field]);
  }
}
