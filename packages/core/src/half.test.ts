import { expect, test } from "vitest";
import { floatsToHalves, floatToHalf, halfToFloat, halvesToFloats } from "./half.ts";

/** Value of a half from the definition, in float64. */
function definedValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 0x3ff;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
}

const all = Uint16Array.from({ length: 65536 }, (_, bits) => bits);

test("every half widens to its value and rounds back to itself", () => {
  const floats = new Float32Array(65536);
  halvesToFloats(all, floats);
  const back = new Uint16Array(65536);
  floatsToHalves(floats, back);
  for (const bits of all) {
    const value = definedValue(bits);
    if (!Object.is(floats[bits], value)) expect(floats[bits], `half ${bits}`).toBe(value);
    if (!Object.is(halfToFloat(bits), value)) expect(halfToFloat(bits)).toBe(value);
    if (!Number.isNaN(value) && back[bits] !== bits) expect(back[bits]).toBe(bits);
    if (Number.isNaN(value)) expect(Number.isNaN(definedValue(back[bits]!))).toBe(true);
  }
});

test("midpoints go to the even neighbour, everything else to the nearest", () => {
  const scratch = new Float32Array(1);
  const step = new Int32Array(scratch.buffer);
  for (let bits = 0; bits < 0x7c00; bits++) {
    const low = definedValue(bits);
    const high = bits === 0x7bff ? 65536 : definedValue(bits + 1);
    const middle = (low + high) / 2;
    const even = bits & 1 ? bits + 1 : bits;
    scratch[0] = middle;
    if (scratch[0] !== middle) throw new Error("a midpoint must be a float32");
    step[0]!--;
    const below = scratch[0];
    step[0]! += 2;
    const above = scratch[0];
    const got = [floatToHalf(below), floatToHalf(middle), floatToHalf(above), floatToHalf(-middle)];
    const wanted = [bits, even, bits + 1, even | 0x8000];
    if (got.join() !== wanted.join()) expect(got, `around ${middle}`).toEqual(wanted);
  }
});

test("extremes", () => {
  expect(floatToHalf(1e30)).toBe(0x7c00);
  expect(floatToHalf(Number.NEGATIVE_INFINITY)).toBe(0xfc00);
  expect(floatToHalf(-0)).toBe(0x8000);
  expect(floatToHalf(2 ** -149)).toBe(0);
  expect(Number.isNaN(halfToFloat(floatToHalf(Number.NaN)))).toBe(true);
});

test("bulk conversions honour views with an offset", () => {
  const floats = new Float32Array([9, 1, -2, 0.1, 9]).subarray(1, 4);
  const halves = new Uint16Array(5).subarray(1, 4);
  floatsToHalves(floats, halves);
  expect(Array.from(halves)).toEqual([0x3c00, 0xc000, 0x2e66]);
  const out = new Float32Array(5);
  halvesToFloats(halves, out.subarray(1, 4));
  expect(Array.from(out)).toEqual([0, 1, -2, halfToFloat(0x2e66), 0]);
});
