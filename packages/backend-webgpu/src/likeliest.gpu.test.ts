import { createRandom, sampleToken } from "@kvcache/decoder";
import { likeliestPartWords, likeliestWgsl } from "@kvcache/kernels";
import { afterAll, beforeAll, expect, it } from "vitest";
import { numbers, testGpu } from "./test-gpu.ts";

let t: Awaited<ReturnType<typeof testGpu>>;
beforeAll(async () => {
  t = await testGpu();
});
afterAll(() => t.gpu.dispose());

/** What the host chooses; −1 where it refuses. */
function onHost(row: Float32Array): number {
  try {
    const nobody = { promptIds: [], generatedIds: [] };
    return sampleToken(row, { temperature: 0 }, nobody, createRandom(1));
  } catch {
    return -1;
  }
}

it.each([1, 61, 2048, 5000])("chooses of %i numbers what the host chooses", async (width) => {
  const [inf, at] = [Number.POSITIVE_INFINITY, Math.min(width - 1, 40)];
  const rows = [
    numbers(width, 3),
    numbers(width, 4).fill(2.5, at),
    new Float32Array(width).fill(-0, at),
    numbers(width, 5).map((x) => -2 - x),
    numbers(width, 6).map(() => -inf),
    numbers(width, 7).map((x, i) => (i === at ? 0.5 : x > 0 ? -inf : x)),
    numbers(width, 8).map((x, i) => (i === at ? inf : x)),
    numbers(width, 9).map((x, i) => (i === width - 1 ? Number.NaN : x)),
    Float32Array.from({ length: width }, (_, i) => (i === at ? 1e-45 : 0)),
  ];
  const all = new Float32Array(rows.length * width);
  rows.forEach((row, i) => {
    all.set(row, i * width);
  });
  const numRows = rows.length;
  const [input, out] = [t.put(all), t.room(numRows + 2)];
  const parts = t.room(likeliestPartWords(numRows, width));
  const dispatches = likeliestWgsl({ input, parts, out, outAt: 2, numRows, width });
  const got = new Int32Array((await t.run(dispatches, out)).slice().buffer);
  expect([...got.subarray(2)]).toEqual(rows.map(onHost));
});
