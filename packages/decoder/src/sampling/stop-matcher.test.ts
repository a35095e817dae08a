import fc from "fast-check";
import { expect, it } from "vitest";
import { stopMatcher } from "./index.ts";

const letters = (minLength: number, maxLength: number) =>
  fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength, maxLength });

function feed(pieces: readonly string[], stops: readonly string[]) {
  const matcher = stopMatcher(stops);
  let emitted = "";
  for (const piece of pieces) {
    const { text, stoppedBy } = matcher.push(piece);
    emitted += text;
    if (stoppedBy !== undefined) return { emitted, stoppedBy };
  }
  return { emitted: emitted + matcher.flush(), stoppedBy: undefined };
}

/** Brute force: reads character by character until the text ends with a stop string. */
function expected(whole: string, stops: readonly string[]) {
  for (let end = 1; end <= whole.length; end++) {
    const found = stops.filter((stop) => whole.slice(0, end).endsWith(stop));
    const [longest] = found.sort((a, b) => b.length - a.length);
    if (longest !== undefined) {
      return { emitted: whole.slice(0, end - longest.length), stoppedBy: longest };
    }
  }
  return { emitted: whole, stoppedBy: undefined };
}

it("emits the text before the stop string that is complete first, and loses nothing", () => {
  fc.assert(
    fc.property(
      fc.array(letters(0, 6), { maxLength: 12 }),
      fc.array(letters(1, 4), { maxLength: 3 }),
      (pieces, stops) => {
        expect(feed(Array.from(pieces.join("")), stops)).toEqual(expected(pieces.join(""), stops));
      },
    ),
  );
});

it("does not depend on where the text is cut", () => {
  fc.assert(
    fc.property(
      fc.array(letters(0, 6), { maxLength: 12 }),
      fc.array(letters(1, 4), { maxLength: 3 }),
      (pieces, stops) => {
        expect(feed(pieces, stops)).toEqual(feed([pieces.join("")], stops));
      },
    ),
  );
});

it("emits at once what cannot begin a stop string", () => {
  const matcher = stopMatcher(["\n\nUser:"]);
  expect(matcher.push("Hello\n")).toEqual({ text: "Hello", stoppedBy: undefined });
  expect(matcher.push("there\n\nU")).toEqual({ text: "\nthere", stoppedBy: undefined });
  expect(matcher.push("ser: more")).toEqual({ text: "", stoppedBy: "\n\nUser:" });
  expect(matcher.push("still more")).toEqual({ text: "", stoppedBy: "\n\nUser:" });
});

it("refuses an empty stop string", () => {
  expect(() => stopMatcher([""])).toThrow("stop string");
});
