import { checkFraction, checkWholeNumber, KvCacheError, type Scorer } from "@kvcache/core";
import { defensiveScore, type Pooling, recordProjectedNorms } from "@kvcache/kernels";

export interface DefensiveOptions {
  /** Last queries observed; their own tokens score as high as any. */
  readonly window: number;
  /** Smoothing along the positions that keeps each query's mass. Default avg 5. */
  readonly pooling?: Pooling;
  /** Part of a row's mean attention whose tokens are kept first. Default 0.9. */
  readonly criticalMass?: number;
  /** Taken off that part: a number, or the measure of the reference (default). */
  readonly windowBias?: number | "reference";
}

/**
 * Worst-case importance: the maximum over queries and query heads in place of their mean, not below
 * the row's mean, times the size of the value after W_O. Needs to know the model and, for the first
 * stage, the target. Throws `invalid-argument` naming the option that is out of range. Feng et al.
 * 2025, arXiv:2510.13334.
 */
export function defensive(options: DefensiveOptions): Scorer {
  const { window, pooling = { kind: "avg", size: 5 } } = options;
  const { criticalMass = 0.9, windowBias = "reference" } = options;
  checkWholeNumber("window", window, 1);
  checkFraction("criticalMass", criticalMass);
  if (windowBias !== "reference" && !Number.isFinite(windowBias))
    throw new KvCacheError("invalid-argument", `windowBias cannot be ${windowBias}.`, {
      value: windowBias,
      remedy: 'Give a number or "reference".',
    });
  return Object.freeze<Scorer>({
    name: "defensive",
    options: { window, pooling, criticalMass, windowBias },
    needs: [{ kind: "windowQueries", window }, { kind: "outputWeight" }],
    score(encoder, batch, out, target) {
      const norms = recordProjectedNorms(encoder, batch);
      encoder.run(defensiveScore, {
        batch,
        target,
        norms,
        out,
        window,
        pooling,
        criticalMass,
        windowBias,
      });
    },
  });
}
