import { anyOf, type GrammarSymbol, range, type Sequence, text } from "./grammar.ts";

const digits = "0123456789";
const code = (digit: string) => digit.charCodeAt(0);
const anyDigits = (count: number): GrammarSymbol[] =>
  Array.from({ length: count }, () => anyOf(digits));

/** Largest magnitude that is written out: 15 digits, which a float64 holds exactly. */
export const MAX_WRITTEN = 999_999_999_999_999;

/** The integers from `low` to `high` in decimal; both within ±MAX_WRITTEN, low ≤ high. */
export function integersBetween(low: number, high: number): readonly Sequence[] {
  if (low < 0 && high < 0) return negative(-high, -low);
  if (low < 0) return [...negative(1, -low), ...natural(0, high)];
  return natural(low, high);
}

const negative = (low: number, high: number): readonly Sequence[] =>
  natural(low, high).map((sequence) => [...text("-"), ...sequence]);

/** Split by the number of digits, so that both ends of each part have as many. */
function natural(low: number, high: number): readonly Sequence[] {
  const out: Sequence[] = [];
  for (let begin = low; begin <= high; ) {
    const end = Math.min(high, 10 ** String(begin).length - 1);
    out.push(...sameLength(String(begin), String(end)));
    begin = end + 1;
  }
  return out;
}

function sameLength(low: string, high: string): readonly Sequence[] {
  if (low === "") return [[]];
  if (/^0*$/.test(low) && /^9*$/.test(high)) return [anyDigits(low.length)];
  const [first, last] = [low[0]!, high[0]!];
  const restLow = low.slice(1);
  const restHigh = high.slice(1);
  const after = (digit: string, rest: readonly Sequence[]) =>
    rest.map((sequence) => [...text(digit), ...sequence]);
  if (first === last) return after(first, sameLength(restLow, restHigh));
  const between: Sequence[] =
    code(last) - code(first) > 1
      ? [[range(code(first) + 1, code(last) - 1), ...anyDigits(restLow.length)]]
      : [];
  return [
    ...after(first, sameLength(restLow, "9".repeat(restLow.length))),
    ...between,
    ...after(last, sameLength("0".repeat(restHigh.length), restHigh)),
  ];
}
