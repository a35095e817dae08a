import { floatsToHalves, halfToFloat, type WeightFormat } from "@kvcache/core";
import {
  addWgsl,
  embedWgsl,
  gatedActivationWgsl,
  gatherWgsl,
  linearWgsl,
  logitsWgsl,
  quantiseRows,
  rmsNormWgsl,
  rope,
  ropeWgsl,
} from "@kvcache/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { numbers, testGpu, worst } from "./test-gpu.ts";

type TestGpu = Awaited<ReturnType<typeof testGpu>>;
let t: TestGpu;
beforeAll(async () => {
  t = await testGpu();
});
afterAll(() => t.gpu.dispose());

const halves = (data: Float32Array) => {
  const bits = new Uint16Array(data.length);
  floatsToHalves(data, bits);
  return { words: new Uint32Array(bits.buffer), values: Float64Array.from(bits, halfToFloat) };
};

/** A matrix in memory, and the numbers that it stands for. */
function stored(data: Float32Array, dtype: WeightFormat, columns: number) {
  if (dtype === "f32") return { dtype, weight: t.put(data), values: Float64Array.from(data) };
  if (dtype === "f16") {
    const { words, values } = halves(data);
    return { dtype, weight: t.put(words), values };
  }
  const bits = dtype === "int8" ? 8 : 4;
  const { values, scales, zeros } = quantiseRows(data, columns, bits, "test");
  const blocks = Math.ceil(columns / 32);
  const bytes = new Uint8Array(Math.ceil(zeros.length / 4) * 4);
  bytes.set(zeros);
  return {
    dtype,
    weight: t.put(new Uint32Array(values.buffer)),
    scales: t.put(scales),
    zeros: t.put(new Uint32Array(bytes.buffer)),
    values: Float64Array.from(data, (_, i) => {
      const [row, column] = [Math.floor(i / columns), i % columns];
      const at = row * blocks * 32 + column;
      const value = bits === 8 ? values[at]! : (values[at >> 1]! >> (4 * (at & 1))) & 15;
      const block = row * blocks + (column >> 5);
      return scales[block]! * (value - zeros[block]!);
    }),
  };
}

const linears = (["f32", "f16", "int8", "int4"] as const).flatMap((dtype) => [
  { dtype, subgroups: false, numTokens: 1, inFeatures: 24, outFeatures: 41 },
  { dtype, subgroups: false, numTokens: 3, inFeatures: 260, outFeatures: 61 },
  { dtype, subgroups: false, numTokens: 13, inFeatures: 1028, outFeatures: 9 },
  { dtype, subgroups: false, numTokens: 33, inFeatures: 100, outFeatures: 70 },
  { dtype, subgroups: true, numTokens: 2, inFeatures: 16384, outFeatures: 5 },
]);

it.each(linears)(
  "linear $inFeatures → $outFeatures, $numTokens tokens, $dtype, subgroups: $subgroups",
  async ({ dtype, subgroups, numTokens, inFeatures, outFeatures }) => {
    if (subgroups && t.gpu.tier === "T0")
      return console.log("skipped: the driver has no subgroups");
    const input = numbers(numTokens * inFeatures, 2);
    const { values, ...matrix } = stored(numbers(outFeatures * inFeatures, 3), dtype, inFeatures);
    const bias = numbers(outFeatures, 4);
    const expected = Array.from({ length: numTokens * outFeatures }, (_, i) => {
      const [token, feature] = [Math.floor(i / outFeatures), i % outFeatures];
      let sum = bias[feature]!;
      for (let k = 0; k < inFeatures; k++)
        sum += input[token * inFeatures + k]! * values[feature * inFeatures + k]!;
      return sum;
    });
    const out = t.room(numTokens * outFeatures);
    const dispatch = linearWgsl({
      ...matrix,
      input: t.put(input),
      bias: t.put(bias),
      out,
      numTokens,
      subgroups,
      firstRow: 0,
      numRows: outFeatures,
      inFeatures,
      outFeatures,
    });
    expect(worst(await t.run([dispatch], out), expected)).toBeLessThan(2e-5);
  },
);

describe.each(["f32", "f16"] as const)("tables as %s", (dtype) => {
  it("embed, from a table in two parts", async () => {
    const table = numbers(10 * 12, 5);
    const { values } = stored(table, dtype, 12);
    const parts = [table.slice(0, 72), table.slice(72)].map((x) => stored(x, dtype, 12).weight);
    const ids = Int32Array.of(-1, 9, 0, 5, 6);
    const out = t.room(4 * 12);
    const dispatches = parts.map((weight, i) =>
      embedWgsl({
        weight,
        dtype,
        firstRow: 6 * i,
        numRows: i === 0 ? 6 : 4,
        width: 12,
        scale: 2,
        ids: t.put(ids),
        idsAt: 1,
        numTokens: 4,
        out,
      }),
    );
    const expected = Array.from({ length: 48 }, (_, i) => {
      const id = ids[1 + Math.floor(i / 12)]!;
      return 2 * values[id * 12 + (i % 12)]!;
    });
    expect(worst(await t.run(dispatches, out), expected)).toBeLessThan(1e-6);
  });
});

it("rms-norm over rows of any width", async () => {
  for (const [numRows, width] of [
    [3, 8],
    [2, 200],
  ] as const) {
    const [input, weight] = [numbers(numRows * width, 6), numbers(width, 7)];
    const out = t.room(numRows * width);
    const expected = Array.from(input, (x, i) => {
      const row = input.subarray(i - (i % width), i - (i % width) + width);
      const mean = row.reduce((sum, y) => sum + y * y, 0) / width;
      return (x / Math.sqrt(mean + 1e-5)) * (weight[i % width]! + 1);
    });
    const dispatch = rmsNormWgsl({
      input: t.put(input),
      weight: t.put(weight),
      out,
      numRows,
      width,
      epsilon: 1e-5,
      unitOffset: true,
    });
    expect(worst(await t.run([dispatch], out), expected)).toBeLessThan(1e-5);
  }
});

it("rope rotates as its reference does, and leaves the rest of a head alone", async () => {
  const [numTokens, numHeads, headDim, half] = [3, 2, 10, 3];
  const input = numbers(numTokens * numHeads * headDim, 8);
  const angles = numbers(numTokens * half, 9);
  const [cos, sin] = [angles.map(Math.cos), angles.map(Math.sin)];
  const expected = new Float32Array(input.length);
  rope.reference({ input, out: expected, cos, sin, numTokens, numHeads });
  const out = t.room(input.length);
  const dispatch = ropeWgsl({
    input: t.put(input),
    out,
    tables: t.put(Float32Array.of(...cos, ...sin)),
    cosAt: 0,
    sinAt: cos.length,
    half,
    numTokens,
    numHeads,
    headDim,
  });
  expect(worst(await t.run([dispatch], out), expected)).toBeLessThan(1e-6);
});

it("elementwise kernels, large arguments included", async () => {
  const count = 300;
  const a = numbers(count, 10).map((x, i) => (i % 7 === 0 ? 90 * x : 3 * x));
  const b = numbers(count, 11);
  const [ma, mb, out] = [t.put(a), t.put(b), t.room(count)];
  const each = (f: (x: number, y: number) => number) => Array.from(a, (x, i) => f(x, b[i]!));
  const add = addWgsl({ a: ma, b: mb, out, scale: -0.5, count });
  expect(
    worst(
      await t.run([add], out),
      each((x, y) => x - 0.5 * y),
    ),
  ).toBeLessThan(1e-6);
  const activations = {
    silu: (x: number) => x / (1 + Math.exp(-x)),
    "gelu-tanh": (x: number) =>
      0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  };
  for (const activation of ["silu", "gelu-tanh"] as const) {
    const gated = gatedActivationWgsl({ gate: ma, up: mb, out, activation, count });
    const expected = each((x, y) => activations[activation](x) * y);
    expect(worst(await t.run([gated], out), expected), activation).toBeLessThan(1e-5);
  }
  const plain = logitsWgsl({ input: ma, out, scale: 2, count });
  expect(
    worst(
      await t.run([plain], out),
      each((x) => 2 * x),
    ),
  ).toBeLessThan(1e-6);
  const capped = logitsWgsl({ input: ma, out, scale: 2, softcap: 5, count });
  expect(
    worst(
      await t.run([capped], out),
      each((x) => 5 * Math.tanh((2 * x) / 5)),
    ),
  ).toBeLessThan(1e-5);
});

it("gather", async () => {
  const rows = numbers(5 * 300, 12);
  const [indices, out] = [t.put(Int32Array.of(9, 3, 0, 3)), t.room(900)];
  const gather = gatherWgsl({
    rows: t.put(rows),
    width: 300,
    indices,
    indicesAt: 1,
    numIndices: 3,
    out,
  });
  const expected = [3, 0, 3].flatMap((row) => [...rows.subarray(row * 300, row * 300 + 300)]);
  expect([...(await t.run([gather], out))]).toEqual(expected);
});

it("a workgroup count beyond one dimension, and no memory left over", async () => {
  const before = t.gpu.usage();
  const count = 128 * 70_000;
  const [a, out] = [t.room(count), t.room(count)];
  t.queue.write(a, (count - 1) * 4, Float32Array.of(3));
  t.queue.dispatch(addWgsl({ a, b: a, out, scale: 1, count }));
  t.queue.flush();
  const bytes = await t.gpu.read([{ memory: out, offset: (count - 1) * 4, bytes: 4 }]);
  expect(new Float32Array(bytes.buffer)[0]).toBe(6);
  for (const memory of [a, out]) t.queue.releaseLater(memory);
  expect(t.gpu.usage()).toEqual(before);
});

it("WGSL that does not compile and memory bound twice are errors of ours", async () => {
  const [memory] = [t.room(4)];
  const dispatch = addWgsl({ a: memory, b: memory, out: memory, scale: 1, count: 4 });
  expect(() => t.queue.dispatch(dispatch)).toThrow(/binds memory twice/);
  const broken = { ...addWgsl({ a: memory, b: memory, out: t.room(4), scale: 1, count: 4 }) };
  await expect(t.run([{ ...broken, code: "nonsense" }], memory)).rejects.toMatchObject({
    name: "KvCacheError",
    code: "internal",
  });
});
