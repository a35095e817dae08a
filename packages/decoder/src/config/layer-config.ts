import { KvCacheError } from "@kvcache/core";
import { type Fields, MAX_INTEGER, show } from "../files/fields.ts";
import type { Family } from "./families.ts";

export interface LayerConfig {
  readonly ropeOfLayer: readonly (number | undefined)[];
  readonly slidingWindow: readonly (number | undefined)[];
}

/** What differs from layer to layer: rotation and window. An explicit `layer_types` wins. */
export function parseLayers(config: Fields, family: Family, numLayers: number): LayerConfig {
  const layers = Array.from({ length: numLayers }, (_, layer) => layer);
  const rotates = parseRotation(config, family, numLayers);
  const window = parseWindow(config, family);
  const isSliding = parseSliding(config, family, numLayers, window, rotates);
  const slides = layers.map(isSliding);
  if (window === undefined && slides.includes(true))
    throw new KvCacheError(
      "invalid-model",
      `${config.path("layer_types")} has sliding layers, but sliding_window is not set or switched off.`,
      { value: config.raw("sliding_window") },
    );
  const tableOf = (layer: number) => (family.slidingTheta && slides[layer] ? 1 : 0);
  return {
    ropeOfLayer: Object.freeze(
      layers.map((layer) => (rotates(layer) ? tableOf(layer) : undefined)),
    ),
    slidingWindow: Object.freeze(layers.map((layer) => (slides[layer] ? window : undefined))),
  };
}

type LayerTest = (layer: number) => boolean;

function parseRotation(config: Fields, family: Family, numLayers: number): LayerTest {
  if (family.nopeInterval === undefined) return () => true;
  const listed = config.list("no_rope_layers");
  if (listed === undefined) {
    const range = { min: 1, max: MAX_INTEGER };
    const interval = config.integer("no_rope_layer_interval", range, family.nopeInterval);
    return (layer) => (layer + 1) % interval !== 0;
  }
  // Despite its name a 1 in this list marks a layer that rotates.
  if (listed.length < numLayers || !listed.every((x) => x === 0 || x === 1))
    throw config.fail("no_rope_layers", `must list 0 or 1 for each of ${numLayers} layers`);
  return (layer) => listed[layer] === 1;
}

/** The window's length where the family has one and config.json does not switch it off. */
function parseWindow(config: Fields, family: Family): number | undefined {
  if (family.sliding === "never") return undefined;
  const optional = family.sliding === "after-max-window-layers" || family.sliding === "nope-layers";
  if (optional && !config.boolean("use_sliding_window", false)) return undefined;
  if (config.raw("sliding_window") === undefined)
    return config.given("sliding_window") ? undefined : family.slidingWindow;
  return config.integer("sliding_window", { min: 1, max: MAX_INTEGER });
}

function parseSliding(
  config: Fields,
  family: Family,
  numLayers: number,
  window: number | undefined,
  rotates: LayerTest,
): LayerTest {
  if (family.sliding === "never" || family.sliding === "all") return () => window !== undefined;
  const listed = config.list("layer_types");
  if (listed !== undefined) {
    const known = (type: unknown) => type === "full_attention" || type === "sliding_attention";
    const stranger = listed.find((type) => !known(type));
    if (stranger !== undefined)
      throw new KvCacheError(
        "unsupported",
        `${config.path("layer_types")}: ${show(stranger)} layers are not supported.`,
        { value: stranger, remedy: "Known are full_attention and sliding_attention." },
      );
    if (listed.length !== numLayers)
      throw new KvCacheError(
        "invalid-model",
        `${config.path("layer_types")} lists ${listed.length} layers, num_hidden_layers is ${numLayers}.`,
        { value: listed.length },
      );
    return (layer) => listed[layer] === "sliding_attention";
  }
  const integer = { min: 0, max: MAX_INTEGER };
  switch (family.sliding) {
    case "after-max-window-layers": {
      const first = config.integer("max_window_layers", integer, 28);
      return (layer) => window !== undefined && layer >= first;
    }
    case "pattern": {
      const { pattern = 2, patternKey } = family;
      const range = { min: 1, max: MAX_INTEGER };
      const every = patternKey ? config.integer(patternKey, range, pattern) : pattern;
      return (layer) => window !== undefined && (layer + 1) % every !== 0;
    }
    case "nope-layers":
      return (layer) => window !== undefined && !rotates(layer);
  }
}
