import {
  type HeadProfile,
  headProfile,
  KvCacheError,
  type KvShape,
  profileArray,
} from "@kvcache/core";
import type { ShareFamily } from "@kvcache/kernels";
import type { Importance } from "./importance.ts";

/** How importance becomes tokens, as the search found it for one ratio. */
export interface ShareSettings {
  /** Weight of head against layer importance, in [0, 1]. */
  readonly gamma: number;
  readonly family: ShareFamily;
}

/** Found for a ratio; nll is the mean negative log-likelihood per token, lower = better. */
export interface FoundSettings extends ShareSettings {
  readonly ratio: number;
  readonly nll: number;
  readonly nllUniform: number;
}

/** In the middle between head and layer, in proportion: without a search. */
export const defaultSettings: ShareSettings = Object.freeze({
  gamma: 0.5,
  family: Object.freeze({ kind: "power", exponent: 1 } as const),
});

export interface BaklavaProfileParts {
  readonly model: HeadProfile["model"];
  readonly shape: KvShape;
  readonly importance: Importance;
  /** Best settings per ratio, from `searchShares`. */
  readonly found?: readonly FoundSettings[];
  /** What else should be known of how it was made: corpus, seed, prompts … */
  readonly about?: Readonly<Record<string, unknown>>;
}

/** The content of a profile file of kind baklava. Throws `invalid-file` when parts do not fit. */
export const baklavaProfile = (parts: BaklavaProfileParts): HeadProfile => {
  const { numLayers, numQueryHeads, numKvHeads } = parts.shape;
  const profile = headProfile({
    kind: "baklava",
    model: parts.model,
    shape: { numLayers, numQueryHeads, numKvHeads },
    settings: { ...parts.about, found: parts.found ?? [] },
    arrays: {
      headImportance: { shape: [numLayers, numKvHeads], values: parts.importance.heads },
      layerImportance: { shape: [numLayers], values: parts.importance.layers },
    },
  });
  profileImportance(profile);
  return profile;
};

/** Throws `invalid-file` when it is no such profile, or holds a negative importance. */
export function profileImportance(profile: HeadProfile): Importance {
  const heads = profileArray(profile, "baklava", "headImportance", ["numLayers", "numKvHeads"]);
  const layers = profileArray(profile, "baklava", "layerImportance", ["numLayers"]);
  for (const value of [...heads, ...layers])
    if (value < 0)
      throw new KvCacheError("invalid-file", `Importance cannot be negative, got ${value}.`, {
        value,
      });
  return { heads: [...heads], layers: [...layers] };
}

/** What was found for the ratio nearest to this one; the default where nobody searched. */
export function settingsFor(profile: HeadProfile, ratio: number): ShareSettings {
  const found = (profile.settings.found ?? []) as readonly FoundSettings[];
  const distance = (settings: FoundSettings) => Math.abs(Math.log(settings.ratio / ratio));
  const [nearest] = [...found].sort((a, b) => distance(a) - distance(b));
  return nearest ?? defaultSettings;
}
