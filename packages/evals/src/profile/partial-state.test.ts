import fc from "fast-check";
import { expect, it } from "vitest";
import { decodePartialState, encodePartialState } from "./partial-state.ts";

const numbers = fc.array(fc.double({ noNaN: true }), { maxLength: 9 });

it("comes back to the bit", () => {
  fc.assert(
    fc.property(
      fc.string(),
      fc.nat(),
      fc.dictionary(fc.string(), fc.tuple(fc.boolean(), numbers)),
      (key, done, given) => {
        const arrays = Object.fromEntries(
          Object.entries(given)
            .filter(([name]) => name !== "__proto__")
            .map(([name, [wide, values]]) => [
              name,
              wide ? Float64Array.from(values) : Float32Array.from(values),
            ]),
        );
        const state = { key, done, arrays };
        expect(decodePartialState(encodePartialState(state))).toEqual(state);
        expect(decodePartialState(Buffer.from(encodePartialState(state)))).toEqual(state);
      },
    ),
    { numRuns: 50 },
  );
});

it("is refused cut off, or as anything else", () => {
  const bytes = encodePartialState({ key: "k", done: 1, arrays: { a: Float64Array.of(1, 2) } });
  expect(() => decodePartialState(bytes.subarray(0, bytes.length - 8))).toThrow("a is cut off");
  expect(() => decodePartialState(bytes.subarray(0, 9))).toThrow("none of this version");
  expect(() => decodePartialState(new TextEncoder().encode("{}\n"))).toThrow("none of this");
});
