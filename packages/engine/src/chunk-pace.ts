/** How many prompt tokens a step may carry beside sequences that decode. */
export interface ChunkPace {
  /** At least 1. */
  promptTokens(numDecoding: number): number;
  /** What a step took. */
  observe(step: {
    readonly numDecoding: number;
    readonly promptTokens: number;
    readonly milliseconds: number;
  }): void;
}

/** Weight of the newest measurement. */
const weight = 0.3;
/** Of the time that prompts may add to a step: what comes later in a prompt takes longer. */
const margin = 0.8;

/**
 * Keeps the gap between two tokens of a sequence within `maxStall` × what it is without prompts: from
 * the time of steps that only decoded, and what each prompt token added to those that did both.
 */
export function createChunkPace(maxStall: number, fewest: number): ChunkPace {
  /** Milliseconds of a step that only decodes, by the number of sequences. */
  const decoding: (number | undefined)[] = [];
  /** Milliseconds that one prompt token adds. */
  let perToken: number | undefined;

  /** The nearest measurement with no more sequences, else the nearest one with more. */
  function alone(numDecoding: number): number | undefined {
    for (let n = Math.min(numDecoding, decoding.length - 1); n > 0; n--)
      if (decoding[n] !== undefined) return decoding[n];
    return decoding.find((time) => time !== undefined);
  }

  const mean = (before: number | undefined, now: number) =>
    before === undefined ? now : before + weight * (now - before);

  return {
    promptTokens(numDecoding) {
      if (numDecoding === 0) return Number.POSITIVE_INFINITY;
      const time = alone(numDecoding);
      // Nothing is known yet: a small step finds out.
      if (time === undefined || perToken === undefined) return fewest;
      const tokens = Math.floor((margin * (maxStall - 1) * time) / perToken);
      return Math.max(fewest, tokens);
    },
    observe({ numDecoding, promptTokens, milliseconds }) {
      if (promptTokens === 0) decoding[numDecoding] = mean(decoding[numDecoding], milliseconds);
      else {
        const time = numDecoding === 0 ? 0 : alone(numDecoding);
        if (time === undefined) return;
        const added = Math.max(1e-3, (milliseconds - time) / promptTokens);
        // Alone, a prompt uses the machine better than beside others.
        if (numDecoding === 0 && perToken !== undefined) return;
        // Prompts get dearer as they get longer, so the higher price is believed at once.
        perToken = Math.max(added, mean(perToken, added));
      }
    },
  };
}
