import { invalidTokenizer } from "./tokenizer-json.ts";

/** A stretch of text; spans of one text follow each other without a gap. */
export interface Span {
  start: number;
  end: number;
  /** Whether the pattern matched here. */
  match: boolean;
}

const BEHAVIORS = [
  "Removed",
  "Isolated",
  "MergedWithPrevious",
  "MergedWithNext",
  "Contiguous",
] as const;
/** What becomes of the matches when a text is split at them. */
export type SplitBehavior = (typeof BEHAVIORS)[number];

export function behaviorAt(value: unknown, where: string): SplitBehavior {
  const behavior = BEHAVIORS.find((name) => name === value);
  if (!behavior) throw invalidTokenizer(where, `must be one of ${BEHAVIORS.join(", ")}`, value);
  return behavior;
}

/** The matches of a global regex and the text between them, in order. */
export function findSpans(text: string, pattern: RegExp): Span[] {
  const spans: Span[] = [];
  let previous = 0;
  let matched = false;
  for (const found of text.matchAll(pattern)) {
    const start = found.index;
    const end = start + found[0].length;
    // Oniguruma reports no empty match right behind another match, and none inside a character.
    if (start === end && ((matched && start === previous) || insidePair(text, start))) continue;
    if (start > previous) spans.push({ start: previous, end: start, match: false });
    spans.push({ start, end, match: true });
    previous = end;
    matched = true;
  }
  if (previous < text.length) spans.push({ start: previous, end: text.length, match: false });
  return spans;
}

/** Merges or drops spans as `behavior` says; empty spans may remain. */
export function applyBehavior(spans: readonly Span[], behavior: SplitBehavior): Span[] {
  if (behavior === "Isolated") return [...spans];
  if (behavior === "Removed") return spans.filter((span) => !span.match);
  const fromEnd = behavior === "MergedWithNext";
  const out: Span[] = [];
  let previousMatch = false;
  for (const span of fromEnd ? [...spans].reverse() : spans) {
    const last = out.at(-1);
    const merges =
      behavior === "Contiguous" ? span.match === previousMatch : span.match && !previousMatch;
    if (!merges || !last) out.push({ ...span });
    else if (fromEnd) last.start = span.start;
    else last.end = span.end;
    previousMatch = span.match;
  }
  return fromEnd ? out.reverse() : out;
}

/** Replaces every match by `replacement`, which is taken literally. */
export function replaceMatches(text: string, pattern: RegExp, replacement: string): string {
  let out = "";
  for (const { start, end, match } of findSpans(text, pattern)) {
    out += match ? replacement : text.slice(start, end);
  }
  return out;
}

function insidePair(text: string, index: number): boolean {
  return index > 0 && text.codePointAt(index - 1)! > 0xffff;
}
