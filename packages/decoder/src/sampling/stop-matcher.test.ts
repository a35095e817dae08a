import fc from "fast-check";
import { expect, it } from "vitest";
import { stopMatcher } from "./index.ts";

it("emits exactly the text before the first stop string, however it is cut", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 40 });
  const stops = fc.array(
    fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 4 }),
    {
      maxLength: 3,
    },
  );
  fc.assert(
    fc.property(text, stops, fc.array(fc.nat(5), { maxLength: 40 }), (whole, strings, cuts) => {
      const matcher = stopMatcher(strings);
      let emitted = "";
      let stoppedBy: string | undefined;
      let at = 0;
      for (const cut of [...cuts, whole.length]) {
        if (stoppedBy !== undefined) break;
        const piece = whole.slice(at, at + cut);
        at += cut;
        const match = matcher.push(piece);
        emitted += match.text;
        stoppedBy = match.stoppedBy;
      }
      if (stoppedBy === undefined) emitted += matcher.flush();
      const seen = whole.slice(0, at);
      const first = strings.map((stop) => seen.indexOf(stop)).filter((index) => index >= 0);
      if (stoppedBy === undefined) expect([emitted, first]).toEqual([seen, []]);
      // A longer stop that begins earlier may still be open when a shorter one completes.
      else expect(seen.startsWith(emitted + stoppedBy)).toBe(true);
      for (const stop of strings) expect(emitted.includes(stop)).toBe(false);
    }),
  );
});
