import { largestRemainder, roundHalfEven } from "../../src/whole-numbers.ts";

export interface PyramidSchedule {
  /** Mean tokens per row, the window included; need not be whole. */
  readonly tokens: number;
  /** Tokens in the longest row. */
  readonly length: number;
  /** Tokens that every row keeps in any case. */
  readonly window: number;
  readonly numLayers: number;
  /** The last layer gets about 1 / beta of the mean. */
  readonly beta: number;
  /**
   * `kvpress`: fractions rounded layer by layer, the window inside the budget. `reference`: whole
   * numbers as in KVCache-Factory, the window on top, a total that can be too large. `exact`: the
   * same schedule in fractions, its total exactly numLayers × tokens.
   */
  readonly rule: "kvpress" | "reference" | "exact";
}

/**
 * Tokens per row of every layer, [numLayers], window included, when the budget falls evenly from the
 * first layer to the last. Cai et al. 2024, arXiv:2406.02069.
 */
export const pyramidSchedule = (schedule: PyramidSchedule): readonly number[] =>
  schedule.rule === "kvpress" ? insideWindow(schedule) : beyondWindow(schedule);

/** Falls back to an even share where the schedule would leave [window, length]. */
function insideWindow({ tokens, length, window, numLayers, beta }: PyramidSchedule) {
  // The window is added and taken back as kvpress does, so that both round alike.
  const mean = window + tokens - window;
  let least = mean / beta;
  let most = mean * 2 - least;
  if (most >= length - window) {
    most = length - window;
    least = mean * 2 - most;
  }
  const step = numLayers > 1 ? (most - least) / (numLayers - 1) : 0;
  const falls = length >= most && most >= least && least >= window;
  return Array.from({ length: numLayers }, (_, layer) =>
    Math.max(1, roundHalfEven(falls ? most - layer * step : tokens)),
  );
}

/** Even where the longest row is shorter than twice what can be chosen of it. */
function beyondWindow({ tokens, length, window, numLayers, beta, rule }: PyramidSchedule) {
  const layers = Array.from({ length: numLayers }, (_, layer) => layer);
  const base = Math.trunc(tokens) - window;
  if (length < tokens) return layers.map(() => length);
  if (base <= 0 || length < 2 * base) return layers.map(() => Math.trunc(tokens));
  const whole = rule === "reference" ? Math.floor : (value: number) => value;
  let least = whole(base / beta);
  let most = 2 * base - least;
  if (most >= length - window) {
    most = length - window;
    least = 2 * base - most;
  }
  const step = numLayers > 1 ? whole((most - least) / (numLayers - 1)) : 0;
  const chosen = layers.map((layer) => most - layer * step);
  const shares =
    rule === "reference"
      ? chosen
      : largestRemainder(chosen, {
          least: layers.map(() => 0),
          limits: layers.map(() => length - window),
          sum: numLayers * base,
        });
  return shares.map((share) => window + share);
}
