import { describe, expect, it } from "vitest";
import { gaussianMatrix } from "./gaussian-matrix.ts";
import {
  budgetCurveOf,
  calibrateQFilters,
  checkKvZap,
  checkQFilters,
  checkQueryStatistics,
  checkRetentionGates,
  convertBudgetCurve,
  convertKvZap,
  convertQFilters,
  convertQueryStatistics,
  convertRetentionGates,
  type FileTensor,
  queryStatisticsOf,
  readBudgetCurve,
  readKvZap,
  readQFilters,
  readQueryStatistics,
  readRetentionGates,
  readTensorFile,
  writeBudgetCurve,
  writeKvZap,
  writeQFilters,
  writeQueryStatistics,
  writeRetentionGates,
  writeTensorFile,
} from "./index.ts";
import { testWeights } from "./test-weights.ts";

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 3 };
const { filters, surrogate, gates } = testWeights(shape);
const statistics = queryStatisticsOf({
  shape: [2, 4, 3],
  means: gaussianMatrix(1, 24, 1),
  covariances: gaussianMatrix(2, 72, 1),
  model: "tiny",
});
const curve = budgetCurveOf({ shape: [99, 2, 2], data: new Float32Array(396).fill(0.25) });
const tensors = (entries: Record<string, FileTensor>) =>
  writeTensorFile({ metadata: {}, tensors: new Map(Object.entries(entries)) });

describe("files of methods", () => {
  it("come back as they were written", () => {
    const about = { texts: "a few" };
    expect(readQueryStatistics(writeQueryStatistics(statistics, about))).toEqual(statistics);
    expect(readQFilters(writeQFilters(filters))).toEqual(filters);
    expect(readKvZap(writeKvZap(surrogate(5)))).toEqual(surrogate(5));
    const linear = surrogate();
    expect(readKvZap(writeKvZap(linear))).toEqual(linear);
    expect(readKvZap(Buffer.from(writeKvZap(linear)))).toEqual(linear);
    expect(readRetentionGates(writeRetentionGates(gates))).toEqual(gates);
    expect(readBudgetCurve(writeBudgetCurve(curve))).toEqual(curve);
    expect(readTensorFile(writeQFilters(filters, about)).metadata).toMatchObject(about);
  });

  it("can be half as large, to three digits", () => {
    const half = writeKvZap(surrogate(5), {}, "F16");
    const whole = writeKvZap(surrogate(5));
    expect(half.length).toBeLessThan(0.75 * whole.length);
    const read = readKvZap(half).layers[1]!;
    surrogate(5).layers[1]!.weight1.forEach((weight, i) => {
      expect(Math.abs(read.weight1[i]! - weight)).toBeLessThanOrEqual(Math.abs(weight) / 1024);
    });
    const wide = new Map([["x", { shape: [1], data: Float32Array.of(7e4) }]]);
    expect(() => writeTensorFile({ metadata: {}, tensors: wide }, "F16")).toThrow(
      "too large for F16",
    );
  });

  it("are refused for a model of another fingerprint", () => {
    const [own, other] = ["0".repeat(32), "1".repeat(32)];
    const bound = { ...statistics, model: own };
    expect(() => checkQueryStatistics(bound, shape, own)).not.toThrow();
    expect(() => checkQueryStatistics(bound, shape)).not.toThrow();
    expect(() => checkQueryStatistics(bound, shape, other)).toThrow("made for another model, 000");
    expect(() => checkQueryStatistics(statistics, shape, other)).not.toThrow();
    expect(() => checkQFilters({ ...filters, model: own }, shape, other)).toThrow("another model");
    expect(() => checkKvZap({ ...surrogate(), model: own }, shape, other)).toThrow("another model");
    expect(() => checkRetentionGates({ ...gates, model: own }, shape, other)).toThrow(
      "another model",
    );
  });

  it("are told apart by their contents", () => {
    const { fingerprint } = surrogate(5);
    expect(fingerprint).toMatch(/^[0-9a-f]{16}$/);
    expect(surrogate(4).fingerprint).not.toBe(fingerprint);
    expect(filters.fingerprint).not.toBe(gates.fingerprint);
  });

  it("are refused when they are for another method, cut off or of another shape", () => {
    expect(() => readKvZap(writeQFilters(filters))).toThrow("is for q-filters, not for kv-zap");
    expect(() => readQFilters(tensors({}))).toThrow("names no method");
    expect(() => readQFilters(writeQFilters(filters).subarray(0, 90))).toThrow(
      "no file of weights",
    );
    expect(() => readQFilters(new Uint8Array(3))).toThrow("has 3 bytes and no header");
    expect(() =>
      convertQFilters(tensors({ filters: { shape: [3], data: new Float32Array(3) } })),
    ).toThrow("Tensor q_filters is missing");
    const wide = { ...statistics, shape: [2, 2, 6] as const };
    expect(() => readQueryStatistics(writeQueryStatistics(wide))).toThrow("does not fill");
  });
});

describe("published files", () => {
  const part = (own: readonly number[], seed: number): FileTensor => ({
    shape: own,
    data: gaussianMatrix(
      seed,
      own.reduce((a, b) => a * b, 1),
      1,
    ),
  });

  it("of query statistics, Q-Filters and curves", () => {
    const { means, covariances } = statistics;
    const published = tensors({
      query_mean: { shape: [2, 4, 3], data: means },
      query_cov: { shape: [2, 4, 3, 3], data: covariances },
    });
    expect(convertQueryStatistics(published, "tiny")).toEqual(statistics);
    const own = tensors({ q_filters: { shape: [2, 2, 3], data: filters.filters } });
    expect(convertQFilters(own)).toEqual(filters);
    // As numpy.save writes float64: version 1, header padded to 64 bytes.
    const header = "{'descr': '<f8', 'fortran_order': False, 'shape': (99, 2, 2), }".padEnd(117);
    const data = Float64Array.from(curve.fractions);
    const bytes = Uint8Array.of(
      ...[0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, 118, 0],
      ...new TextEncoder().encode(`${header}\n`),
      ...new Uint8Array(data.buffer),
    );
    expect(convertBudgetCurve(bytes)).toEqual(curve);
    expect(() => convertBudgetCurve(bytes.subarray(0, 900))).toThrow("does not fill the shape");
  });

  it("of surrogates, linear and with two maps", () => {
    const linear = tensors({
      "layers.0.weight": part([2, 5], 1),
      "layers.0.bias": part([2], 2),
      "layers.1.weight": part([2, 5], 3),
      "layers.1.bias": part([2], 4),
    });
    expect(convertKvZap(linear).shape).toEqual([2, 2, 5]);
    expect(convertKvZap(linear).layers[1]!.weight1).toEqual(part([2, 5], 3).data);
    const mlp = tensors({
      "layers.0.0.weight": part([7, 5], 1),
      "layers.0.0.bias": part([7], 2),
      "layers.0.2.weight": part([2, 7], 3),
      "layers.0.2.bias": part([2], 4),
    });
    expect(convertKvZap(mlp).shape).toEqual([1, 2, 5]);
    expect(convertKvZap(mlp).layers[0]!.bias2).toEqual(part([2], 4).data);
    expect(() => convertKvZap(tensors({}))).toThrow("no surrogate of any layer");
  });

  it("of gates", () => {
    const layer = (seed: number) =>
      new Map([
        ["q_proj.weight", part([16, 5], seed)],
        ["q_proj.bias", part([16], seed + 1)],
        ["k_proj.weight", part([8, 5], seed + 2)],
        ["q_norm.weight", part([4], seed + 3)],
        ["k_norm.weight", part([4], seed + 4)],
        ["k_base", part([2, 1, 3, 4], seed + 5)],
        ["b", part([2, 1, 2], seed + 6)],
      ]);
    const converted = convertRetentionGates([layer(1), layer(21)]);
    expect(converted).toMatchObject({ numLayers: 2, numKvHeads: 2, groupSize: 2, hiddenSize: 5 });
    expect(converted.tensors.gateBase.subarray(24)).toEqual(part([2, 1, 3, 4], 26).data);
    const broken = layer(1);
    broken.delete("b");
    expect(() => convertRetentionGates([broken])).toThrow("lacks b");
  });

  it("in half precision", () => {
    const bytes = tensors({ q_filters: { shape: [1, 1, 2], data: Float32Array.of(0, 0) } });
    const text = new TextDecoder().decode(bytes);
    const patched = (dtype: string, halves: readonly number[]) => {
      const header = text
        .slice(8, text.lastIndexOf("}") + 1)
        .replace("F32", dtype)
        .replace("[0,8]", "[0,4]")
        .padEnd(128);
      const out = new Uint8Array(8 + 128 + 4);
      new DataView(out.buffer).setBigUint64(0, 128n, true);
      out.set(new TextEncoder().encode(header), 8);
      out.set(new Uint8Array(Uint16Array.from(halves).buffer), 136);
      return convertQFilters(out).filters;
    };
    expect([...patched("BF16", [0x3fc0, 0xc000])]).toEqual([1.5, -2]);
    expect([...patched("F16", [0x3e00, 0xc000])]).toEqual([1.5, -2]);
    expect(() => patched("I16", [0, 0])).toThrow("is I16, not F32, F16 or BF16");
  });
});

describe("calibration of Q-Filters", () => {
  it("finds the main direction of queries, turned along their mean", () => {
    // Queries of one head lie along (3, 4, 0) with a little noise across.
    const one = { numLayers: 1, numQueryHeads: 1, numKvHeads: 1, headDim: 3 };
    const queries = [1, 2, 3, -0.5].map((t, i) => [
      -0.6 * t,
      -0.8 * t,
      0.1 * (i % 2 === 0 ? 1 : -1),
    ]);
    const count = queries.length;
    const means = [0, 1, 2].map((c) => queries.reduce((sum, q) => sum + q[c]!, 0) / count);
    const deviations = [0, 1, 2].flatMap((a) =>
      [0, 1, 2].map((b) =>
        queries.reduce((sum, q) => sum + (q[a]! - means[a]!) * (q[b]! - means[b]!), 0),
      ),
    );
    const found = calibrateQFilters(
      { means: Float32Array.from(means), deviations: Float32Array.from(deviations), count },
      one,
    ).filters;
    expect(found[0]).toBeCloseTo(-0.6, 2);
    expect(found[1]).toBeCloseTo(-0.8, 2);
    expect(Math.abs(found[2]!)).toBeLessThan(0.03);
    expect(Math.hypot(...found)).toBeCloseTo(1, 5);
  });

  it("averages the directions of a group", () => {
    const group = { numLayers: 1, numQueryHeads: 2, numKvHeads: 1, headDim: 2 };
    const found = calibrateQFilters(
      {
        means: Float32Array.of(2, 0, 0, 3),
        deviations: new Float32Array(8),
        count: 5,
      },
      group,
    ).filters;
    expect([...found]).toEqual([0.5, 0.5]);
  });
});
