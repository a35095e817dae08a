import { KvCacheError } from "./errors.ts";
import type { KvShape } from "./shape.ts";

/** Numbers of a profile, row-major. */
export interface ProfileArray {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/**
 * What was measured once about the heads of one model, and is used for every sequence: the content
 * of a profile file. `kind` is the method that it was made for.
 */
export interface HeadProfile {
  readonly format: "kvcache-head-profile";
  readonly version: 1;
  readonly kind: string;
  /** The model it was measured on. Without a fingerprint only the shape can be checked. */
  readonly model: { readonly name: string; readonly fingerprint: string | null };
  readonly shape: Pick<KvShape, "numLayers" | "numQueryHeads" | "numKvHeads">;
  /** How it was measured and must be used: plain JSON, each kind has its own. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly arrays: Readonly<Record<string, ProfileArray>>;
}

/** A dimension of an array of a profile: one of the model's, or a number. */
export type ProfileDimension = keyof HeadProfile["shape"] | number;

/** Makes a profile of one kind, checked and frozen. Throws `invalid-file` like a file that is wrong. */
export const headProfile = (parts: Omit<HeadProfile, "format" | "version">): HeadProfile =>
  parseHeadProfile({ format: "kvcache-head-profile", version: 1, ...parts });

/**
 * Reads a profile from JSON, as text or parsed. Throws `invalid-file` naming the field that is wrong;
 * `origin` says where it came from.
 */
export function parseHeadProfile(json: unknown, origin = "The head profile"): HeadProfile {
  const fail = (what: string, value?: unknown): never => {
    throw new KvCacheError("invalid-file", `${origin}: ${what}.`, {
      value,
      remedy: "Make it again with kvcache profile, or convert a published one.",
    });
  };
  const value = typeof json === "string" ? parsed(json, fail) : json;
  if (typeof value !== "object" || value === null) return fail("it is not a JSON object", value);
  const profile = value as HeadProfile;
  const { format, version, kind, model, shape, settings, arrays } = profile;
  if (format !== "kvcache-head-profile") fail(`format is ${JSON.stringify(format)}`, format);
  if (version !== 1) fail(`version ${JSON.stringify(version)} is not 1`, version);
  if (typeof kind !== "string") fail("kind must be a text", kind);
  if (typeof model?.name !== "string") fail("model.name must be a text", model);
  const { fingerprint } = model;
  if (fingerprint !== null && typeof fingerprint !== "string")
    fail("model.fingerprint must be a text or null", fingerprint);
  for (const key of ["numLayers", "numQueryHeads", "numKvHeads"] as const)
    if (!(Number.isSafeInteger(shape?.[key]) && shape[key] > 0))
      fail(`shape.${key} must be a positive integer`, shape?.[key]);
  if (typeof settings !== "object" || settings === null) fail("settings must be an object");
  if (typeof arrays !== "object" || arrays === null) fail("arrays must be an object");
  for (const [name, array] of Object.entries(arrays)) {
    const size = array?.shape?.reduce?.((product, length) => product * length, 1);
    if (!Array.isArray(array?.values) || array.values.length !== size)
      fail(`array ${name} does not hold as many values as its shape says`, array?.shape);
    if (!array.values.every(Number.isFinite)) fail(`array ${name} holds what is no finite number`);
  }
  return Object.freeze(profile);
}

function parsed(text: string, fail: (what: string) => never): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return fail("it is not JSON");
  }
}

/** What a policy's options say of its profile: which one it was, not what is in it. */
export interface ProfileIdentity {
  readonly kind: string;
  readonly model: string;
  /** Hash of the arrays and settings. */
  readonly digest: string;
}

export const profileIdentity = (profile: HeadProfile | null): ProfileIdentity | null =>
  profile && {
    kind: profile.kind,
    model: profile.model.name,
    digest: digestOf(JSON.stringify([profile.settings, profile.arrays])),
  };

/** 32-bit FNV-1a of a text's UTF-16 units, as 8 hexadecimal digits. */
function digestOf(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, "0");
}

/**
 * An array of a profile. Throws `invalid-file` when the profile is of another kind, has no such
 * array, or one of other dimensions.
 */
export function profileArray(
  profile: HeadProfile,
  kind: string,
  name: string,
  dimensions: readonly ProfileDimension[],
): Float64Array {
  parseHeadProfile(profile, "The option profile");
  if (profile.kind !== kind)
    throw new KvCacheError(
      "invalid-file",
      `A profile of kind ${profile.kind} is not for ${kind}.`,
      {
        value: profile.kind,
        remedy: `Make one with kvcache profile ${kind}.`,
      },
    );
  const wanted = dimensions.map((size) => (typeof size === "number" ? size : profile.shape[size]));
  const array = profile.arrays[name];
  if (array === undefined || String(array.shape) !== String(wanted))
    throw new KvCacheError(
      "invalid-file",
      `The profile's array ${name} has shape [${array?.shape ?? "none"}] where [${wanted}] belongs.`,
      { value: array?.shape },
    );
  return Float64Array.from(array.values);
}

/**
 * Throws `invalid-plan` where there is no profile, or one of another model: other heads, or another
 * fingerprint where both are known.
 */
export function checkProfile(
  kind: string,
  profile: HeadProfile | null,
  shape: KvShape,
  fingerprint?: string,
): asserts profile is HeadProfile {
  if (profile === null)
    throw new KvCacheError("invalid-plan", `${kind} needs a profile of the model's heads.`, {
      remedy: `Make one with kvcache profile ${kind}, and pass what parseHeadProfile reads as profile.`,
    });
  for (const key of ["numLayers", "numQueryHeads", "numKvHeads"] as const)
    if (profile.shape[key] !== shape[key])
      throw new KvCacheError(
        "invalid-plan",
        `The profile was made for another model (${profile.model.name}): ${key} is ${profile.shape[key]}, here ${shape[key]}.`,
        { value: profile.shape, remedy: "Load the profile that belongs to this model." },
      );
  const made = profile.model.fingerprint;
  if (made !== null && fingerprint !== undefined && made !== fingerprint)
    throw new KvCacheError(
      "invalid-plan",
      `The profile was made for another model: ${profile.model.name}, ${made}; this one is ${fingerprint}.`,
      { value: made, remedy: "Profile this model, or load the profile that belongs to it." },
    );
}
