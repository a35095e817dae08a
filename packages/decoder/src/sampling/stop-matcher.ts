import { KvCacheError } from "@kvcache/core";

/** Finds stop strings in text that arrives in pieces. */
export interface StopMatcher {
  /**
   * The text that is now certain to be no part of a stop string, and the stop string once one is
   * complete: then `text` ends right before it, and whatever followed is dropped.
   */
  push(text: string): { readonly text: string; readonly stoppedBy: string | undefined };
  /** What was held back, when the stream ends without a stop string. */
  flush(): string;
}

/**
 * Matches the stop string that is complete first; of those that end together, the longest. Where
 * the text is cut into pieces makes no difference. Throws `invalid-argument` for an empty string.
 */
export function stopMatcher(stopStrings: readonly string[]): StopMatcher {
  for (const stop of stopStrings) {
    if (typeof stop === "string" && stop !== "") continue;
    throw new KvCacheError("invalid-argument", "A stop string must be a string, not empty.", {
      value: stop,
      remedy: "Remove it.",
    });
  }
  let held = "";
  let stoppedBy: string | undefined;

  return {
    push(piece) {
      if (stoppedBy !== undefined) return { text: "", stoppedBy };
      const text = held + piece;
      let first: { start: number; end: number } | undefined;
      for (const stop of stopStrings) {
        const start = text.indexOf(stop);
        const end = start + stop.length;
        const earlier = !first || end < first.end || (end === first.end && start < first.start);
        if (start >= 0 && earlier) first = { start, end };
      }
      if (first) {
        held = "";
        stoppedBy = text.slice(first.start, first.end);
        return { text: text.slice(0, first.start), stoppedBy };
      }
      const safe = text.length - longestBeginning(text, stopStrings);
      held = text.slice(safe);
      return { text: text.slice(0, safe), stoppedBy };
    },

    flush() {
      const rest = held;
      held = "";
      return rest;
    },
  };
}

/** The length of the longest end of `text` that a stop string begins with. */
function longestBeginning(text: string, stopStrings: readonly string[]): number {
  let longest = 0;
  for (const stop of stopStrings) {
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(stop.slice(0, length))) longest = length;
    }
  }
  return longest;
}
