import { checkWholeNumber } from "@kvcache/core";
import type { ShareFamily } from "@kvcache/kernels";
import type { FoundSettings, ShareSettings } from "./profile.ts";

export interface SearchOptions {
  /** Fraction kept that settings are searched for. */
  readonly ratio: number;
  /** Mean negative log-likelihood per token of held-out text under these settings. */
  readonly evaluate: (settings: ShareSettings) => Promise<number>;
  readonly family?: "power" | "tiers";
  /** Default 40. */
  readonly maxEvaluations?: number;
  /** After every evaluation; it is also how a search is resumed: see `known`. */
  readonly onEvaluation?: (settings: ShareSettings, nll: number, done: number) => void;
  /** Results of an earlier run, not evaluated again. */
  readonly known?: readonly (readonly [ShareSettings, number])[];
}

const axes: Record<"power" | "tiers", readonly Axis[]> = {
  power: [
    { name: "gamma", values: [0, 0.5, 1] },
    { name: "exponent", values: [0, 0.25, 0.5, 1, 2] },
  ],
  tiers: [
    { name: "gamma", values: [0, 0.5, 1] },
    { name: "lowFraction", values: [0.1, 0.2, 0.3, 0.4, 0.5] },
    { name: "highFraction", values: [0.1, 0.2, 0.3, 0.4, 0.5] },
    { name: "lowFactor", values: [0.1, 0.25, 0.5] },
    { name: "highFactor", values: [1, 1.5, 2] },
  ],
};

interface Axis {
  readonly name: string;
  readonly values: readonly number[];
}

/** Every point of the grid that a search moves on, the even split first. */
export function shareGrid(family: "power" | "tiers" = "power"): ShareSettings[] {
  const points = axes[family].reduce<Record<string, number>[]>(
    (all, { name, values }) =>
      all.flatMap((point) => values.map((value) => ({ ...point, [name]: value }))),
    [{}],
  );
  const settings = points.map((point) => settingsAt(family, point));
  return [uniformShares, ...settings.filter((own) => keyOf(own) !== keyOf(uniformShares))];
}

const uniformShares: ShareSettings = { gamma: 1, family: { kind: "power", exponent: 0 } };

/**
 * Settings of least loss: one axis of the grid after the other, until a whole round changes nothing
 * or evaluations run out. An even split takes part, so that the result is never worse on the text it
 * is found with.
 */
export async function searchShares(options: SearchOptions): Promise<FoundSettings> {
  const { ratio, evaluate, family = "power", maxEvaluations = 40 } = options;
  checkWholeNumber("maxEvaluations", maxEvaluations, 1);
  const results = new Map(options.known?.map(([settings, nll]) => [keyOf(settings), nll]));
  let evaluations = 0;
  async function lossOf(settings: ShareSettings): Promise<number> {
    const key = keyOf(settings);
    const known = results.get(key);
    if (known !== undefined) return known;
    if (evaluations >= maxEvaluations) return Number.POSITIVE_INFINITY;
    const nll = await evaluate(settings);
    evaluations++;
    results.set(key, nll);
    options.onEvaluation?.(settings, nll, evaluations);
    return nll;
  }

  const nllUniform = await lossOf(uniformShares);
  let point: Record<string, number> = Object.fromEntries(
    axes[family].map(({ name, values }) => [name, values[values.length >> 1]!]),
  );
  let best = { settings: settingsAt(family, point), nll: await lossOf(settingsAt(family, point)) };
  for (let changed = true; changed && evaluations < maxEvaluations; ) {
    changed = false;
    for (const { name, values } of axes[family])
      for (const value of values) {
        const next = { ...point, [name]: value };
        const settings = settingsAt(family, next);
        const nll = await lossOf(settings);
        if (!(nll < best.nll)) continue;
        best = { settings, nll };
        point = next;
        changed = true;
      }
  }
  const { settings, nll } =
    best.nll < nllUniform ? best : { settings: uniformShares, nll: nllUniform };
  return { ...settings, ratio, nll, nllUniform };
}

function settingsAt(kind: "power" | "tiers", point: Readonly<Record<string, number>>) {
  const { gamma, ...family } = point;
  return { gamma, family: { kind, ...family } } as { gamma: number; family: ShareFamily };
}

const keyOf = ({ gamma, family }: ShareSettings): string => JSON.stringify([gamma, family]);
