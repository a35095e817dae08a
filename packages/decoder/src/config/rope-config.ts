import { KvCacheError, type RopeParameters, type RopeScaling } from "@kvcache/core";
import { type Fields, fieldsOf, MAX_INTEGER, show } from "../files/fields.ts";
import type { Family } from "./families.ts";

export interface RopeContext {
  readonly config: Fields;
  readonly family: Family;
  readonly headDim: number;
  readonly maxPositions: number;
}

const positive = { min: 0, max: 1e6, above: true };
const positions = { min: 1, max: MAX_INTEGER };
const theta = { min: 1, max: 1e15, above: true };
const nothing = fieldsOf({}, "config.json");

/**
 * The model's rope tables: one, or for Gemma 3 two (full layers, sliding layers). A `rope_scaling`
 * that is set replaces `rope_parameters` as a whole; inside the winner `rope_theta` beats the
 * top-level one, which beats the family's default.
 */
export function parseRopes(context: RopeContext): readonly RopeParameters[] {
  const { config, family } = context;
  const legacy = config.object("rope_scaling");
  const current = () => config.object("rope_parameters");
  if (family.slidingTheta === undefined) {
    const chosen = legacy && legacy.keys().length > 0 ? legacy : (current() ?? nothing);
    if (chosen.given("full_attention") || chosen.given("sliding_attention"))
      throw unsupportedRope(chosen.path("full_attention"), "tables for each layer type");
    return [parseRope(context, chosen, config.number("rope_theta", theta, family.theta))];
  }
  const perType = current();
  const full = legacy ?? perType?.object("full_attention") ?? nothing;
  const sliding = perType?.object("sliding_attention") ?? nothing;
  if (perType?.given("rope_type"))
    throw unsupportedRope(perType.path("rope_type"), "one table for all layer types");
  return [
    parseRope(context, full, config.number("rope_theta", theta, family.theta)),
    parseRope(context, sliding, config.number("rope_local_base_freq", theta, family.slidingTheta)),
  ];
}

function parseRope(context: RopeContext, rope: Fields, fallbackTheta: number): RopeParameters {
  const { config, family, headDim, maxPositions } = context;
  const share = { min: 0, max: 1, above: true };
  const partial = rope.number(
    "partial_rotary_factor",
    share,
    config.number("partial_rotary_factor", share, 1),
  );
  if (partial !== 1 && !family.partialRope)
    throw unsupportedRope(rope.path("partial_rotary_factor"), show(partial));
  const dim = Math.trunc(headDim * partial);
  if (dim < 2 || dim % 2 !== 0)
    throw new KvCacheError(
      "invalid-model",
      `${config.path("head_dim")}: rotary embeddings turn pairs, so an even number of values of a head must be rotated, got ${dim}.`,
      { value: dim },
    );
  return Object.freeze({
    theta: rope.number("rope_theta", theta, fallbackTheta),
    dim,
    maxPositions,
    scaling: Object.freeze(parseScaling(context, rope, dim)),
  });
}

function parseScaling({ config, family, maxPositions }: RopeContext, rope: Fields, dim: number) {
  const typeKey = rope.raw("rope_type") !== undefined ? "rope_type" : "type";
  const named = rope.string(typeKey, "default");
  const type = family.partialRope && (named === "su" || named === "yarn") ? "longrope" : named;
  /** Phi-3 and others keep it outside of the dictionary; that one wins. */
  const originalMaxPositions = () =>
    config.integer(
      "original_max_position_embeddings",
      positions,
      rope.integer("original_max_position_embeddings", positions, maxPositions),
    );
  const parsers: Record<RopeScaling["type"], () => RopeScaling> = {
    default: () => ({ type: "default" }),
    linear: () => ({ type: "linear", factor: rope.number("factor", positive) }),
    dynamic: () => {
      if (dim < 4)
        throw unsupportedRope(rope.path(typeKey), `"dynamic" with ${dim} rotated values`);
      return { type: "dynamic", factor: rope.number("factor", positive) };
    },
    llama3: () => parseLlama3(rope, originalMaxPositions()),
    yarn: () => parseYarn(rope, originalMaxPositions(), maxPositions),
    longrope: () => parseLongRope(rope, originalMaxPositions(), maxPositions, dim / 2),
  };
  if (!Object.hasOwn(parsers, type)) throw unsupportedRope(rope.path(typeKey), show(named));
  return parsers[type as RopeScaling["type"]]();
}

function parseLlama3(rope: Fields, originalMaxPositions: number): RopeScaling {
  const lowFreqFactor = rope.number("low_freq_factor", positive);
  const highFreqFactor = rope.number("high_freq_factor", positive);
  if (highFreqFactor <= lowFreqFactor)
    throw rope.fail("high_freq_factor", `must be above low_freq_factor ${lowFreqFactor}`);
  const factor = rope.number("factor", positive);
  return { type: "llama3", factor, lowFreqFactor, highFreqFactor, originalMaxPositions };
}

function parseYarn(rope: Fields, originalMaxPositions: number, maxPositions: number): RopeScaling {
  // A factor that is there but null asks for the ratio of the lengths.
  const ratio = rope.given("factor") ? maxPositions / originalMaxPositions : undefined;
  const factor = rope.number("factor", positive, ratio);
  const orDefault = (field: string, fallback: number) =>
    rope.number(field, { min: 0, max: 1e6 }, fallback) || fallback;
  const betaFast = orDefault("beta_fast", 32);
  const betaSlow = orDefault("beta_slow", 1);
  if (betaFast < betaSlow) throw rope.fail("beta_fast", `must be at least beta_slow ${betaSlow}`);

  const mscale = orDefault("mscale", 0);
  const mscaleAllDim = orDefault("mscale_all_dim", 0);
  const magnitude = (scale: number) => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);
  const both = mscale > 0 && mscaleAllDim > 0;
  const inferred = both ? magnitude(mscale) / magnitude(mscaleAllDim) : magnitude(1);
  return {
    type: "yarn",
    factor,
    originalMaxPositions,
    betaFast,
    betaSlow,
    truncate: rope.boolean("truncate", true),
    attentionFactor: rope.number("attention_factor", positive, inferred),
  };
}

function parseLongRope(
  rope: Fields,
  originalMaxPositions: number,
  maxPositions: number,
  half: number,
): RopeScaling {
  const factors = (field: string): readonly number[] => {
    const list = rope.list(field);
    const ok = list?.every((x) => typeof x === "number" && x > 0 && x <= 1e6);
    if (list === undefined || list.length !== half || !ok)
      throw rope.fail(field, `must list ${half} positive numbers`);
    return Object.freeze([...(list as readonly number[])]);
  };
  const factor = rope.number("factor", positive, maxPositions / originalMaxPositions);
  const inferred =
    factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(Math.max(2, originalMaxPositions)));
  return {
    type: "longrope",
    shortFactor: factors("short_factor"),
    longFactor: factors("long_factor"),
    originalMaxPositions,
    attentionFactor: rope.number("attention_factor", positive, inferred),
  };
}

const unsupportedRope = (path: string, what: string) =>
  new KvCacheError("unsupported", `${path}: ${what} is not a rope that this package knows.`, {
    value: what,
    remedy: "Known types are default, linear, dynamic, llama3, yarn and longrope.",
  });
