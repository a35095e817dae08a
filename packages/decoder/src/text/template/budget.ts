import { TemplateFailure } from "./failure.ts";

/** Work that one rendering may do: nodes evaluated, items made, and 1 for every 4 characters. */
const MAX_STEPS = 10_000_000;
/** The longest string that a template may build, in UTF-16 code units. */
const MAX_LENGTH = 2 ** 23;
const MAX_DEPTH = 100;

/**
 * The limits of one rendering. Templates come with a model and are not trusted: without limits one
 * could loop for ever or fill the memory.
 */
export interface Budget {
  spend(steps: number): void;
  /** Refuses a string of that length. */
  checkLength(length: number): void;
  /** Pays for a string of that length, before it comes into being. */
  spendText(length: number): void;
  /** Runs the body of a macro; calls that nest too deeply fail. */
  nested<T>(body: () => T): T;
}

export function createBudget(): Budget {
  let left = MAX_STEPS;
  let depth = 0;

  function spend(steps: number): void {
    left -= steps;
    if (!(left >= 0)) throw new TemplateFailure("the template does too much work and was stopped");
  }

  function checkLength(length: number): void {
    if (length <= MAX_LENGTH) return;
    throw new TemplateFailure(`the template builds a text of more than ${MAX_LENGTH} characters`);
  }

  return {
    spend,
    checkLength,
    spendText(length) {
      checkLength(length);
      spend(1 + length / 4);
    },
    nested(body) {
      if (depth === MAX_DEPTH) throw new TemplateFailure("macros call each other too deeply");
      depth++;
      try {
        return body();
      } finally {
        depth--;
      }
    },
  };
}
