// What docs/quality.md checks. `at(plan, ratio, question)` gives a row's figures: score in percent of
// the full cache, and the fraction kept.
import { plans } from "./rows.mjs";

const ratios = [0.5, 0.25, 0.2, 0.1];
const points = (difference) => `${difference >= 0 ? "+" : "−"}${Math.abs(difference).toFixed(1)}`;
const atLeast = (value, bar, unit = " %") => ({
  measured: `${value.toFixed(1)}${unit}`,
  holds: value >= bar,
});
const lead = (a, b, bar) => {
  const difference = a.score - b.score;
  return {
    measured: `${points(difference)} (${a.score.toFixed(1)} against ${b.score.toFixed(1)})`,
    holds: difference >= bar,
  };
};

/** [claim, check] in the order of the page. */
export const claims = [
  ...[
    [0.2, 98],
    [0.1, 94],
  ].map(([ratio, bar]) => [
    `kv-zip, question hidden, ${100 * ratio} % kept: at least ${bar} %`,
    (at) => atLeast(at(plans.kvZip, ratio, "hidden").score, bar),
  ]),
  ...[0.25, 0.2].map((ratio) => [
    `ada-kv over key-diff, hidden, ${100 * ratio} % kept: at least 8 points above key-diff`,
    (at) => lead(at(plans.adaKeyDiff, ratio, "hidden"), at(plans.keyDiff, ratio, "hidden"), 8),
  ]),
  ...ratios.map((ratio) => [
    `ada-kv over snap-kv (window 64, pooling 21), visible, ${100 * ratio} % kept: ` +
      (ratio === 0.25 ? "at least 2 points above it" : "no more than 1 point below it"),
    (at) =>
      lead(
        at(plans.adaSnapKV, ratio, "visible"),
        at(plans.snapKV, ratio, "visible"),
        ratio === 0.25 ? 2 : -1,
      ),
  ]),
  [
    "kv-compress' schedule (recent 16, block 8) over kv-zip, hidden, 8×: at least 95 %",
    (at) => atLeast(at(plans.scheduledKvZip, 0.125, "hidden").score, 95),
  ],
  ...ratios.map((ratio) => [
    `kv-compress' schedule over snap-kv's scores, visible, ${100 * ratio} % kept: within 3 points of ada-kv`,
    (at) => {
      const own = at(plans.scheduledSnapKV, ratio, "visible");
      const ada = at(plans.adaSnapKV, ratio, "visible");
      const difference = own.score - ada.score;
      const kept = [own, ada].map((row) => `${(100 * row.kept).toFixed(1)} %`).join(" and ");
      return {
        measured: `${points(difference)}, keeping ${kept}`,
        holds: Math.abs(difference) <= 3,
      };
    },
  ]),
  [
    "baklava, visible, 70 % evicted: not below an even budget with the same scores",
    (at) => lead(at(plans.baklava, 0.3, "visible"), at(plans.uniform, 0.3, "visible"), 0),
  ],
  [
    "dbudget-kv, attention ordering, visible: at least 99 %, more than 25 % evicted",
    (at) => {
      const { score, kept } = at(plans.dBudgetKV, 1, "visible");
      const evicted = 100 * (1 - kept);
      return {
        measured: `${score.toFixed(1)} %, ${evicted.toFixed(1)} % evicted`,
        holds: score >= 99 && evicted > 25,
      };
    },
  ],
];
