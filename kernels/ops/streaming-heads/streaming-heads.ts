import { roundHalfEven } from "../../src/whole-numbers.ts";

/**
 * Which heads stream, 1 each, [heads]: those of low retrieval scores. `lowest` takes exactly
 * round(heads × fraction) of them, halves to even, ties to the earlier head; `quantile` all below that
 * quantile of the scores, none at 0 and all at 1, as DuoAttention's own code.
 */
export const streamingHeads = (
  headScores: Float64Array,
  fraction: number,
  rule: "lowest" | "quantile",
): Uint8Array =>
  rule === "lowest"
    ? lowestHeads(headScores, roundHalfEven(headScores.length * fraction))
    : headsBelowQuantile(headScores, fraction);

/** The `count` heads of the lowest scores, 1 each, [heads]; ties to the earlier head. */
export function lowestHeads(headScores: Float64Array, count: number): Uint8Array {
  const chosen = new Uint8Array(headScores.length);
  const order = Array.from(headScores.keys()).sort(
    (a, b) => headScores[a]! - headScores[b]! || a - b,
  );
  for (const head of order.slice(0, count)) chosen[head] = 1;
  return chosen;
}

function headsBelowQuantile(headScores: Float64Array, fraction: number): Uint8Array {
  const chosen = new Uint8Array(headScores.length);
  if (fraction <= 0) return chosen;
  if (fraction >= 1) return chosen.fill(1);
  const threshold = quantile(headScores, fraction);
  return chosen.map((_, head) => (headScores[head]! < threshold ? 1 : 0));
}

/** Linear between neighbours. */
function quantile(values: Float64Array, fraction: number): number {
  const ascending = values.slice().sort();
  const at = (values.length - 1) * fraction;
  const below = Math.floor(at);
  const [low, high] = [ascending[below]!, ascending[Math.min(below + 1, values.length - 1)]!];
  return low + (at - below) * (high - low);
}
