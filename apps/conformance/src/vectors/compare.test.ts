import { expect, it } from "vitest";
import type { VectorCase } from "./case.ts";
import { compareFloats, compareIntegers, compareKeep, first } from "./compare.ts";
import { runCase } from "./run-case.ts";

const vector = (
  tensors: Readonly<Record<string, number[]>>,
  more: Partial<VectorCase> = {},
): VectorCase => ({
  id: "test/case",
  kind: "keep",
  method: "none",
  params: {},
  shape: { layers: 1, queryHeads: 1, kvHeads: 1, headDim: 1, tokens: 4 },
  expect: [],
  tolerance: { scores: 1e-3, tie: 1e-2 },
  tensors: new Map(
    Object.entries(tensors).map(([name, data]) => [
      name,
      {
        shape: [data.length],
        data: name === "scores" ? Float32Array.from(data) : Int32Array.from(data),
      },
    ]),
  ),
  ...more,
});

it("compares floats where they are finite, absolutely below one and relatively above", () => {
  const expected = vector({ scores: [Infinity, 0.5, 200] });
  expect(compareFloats(expected, "scores", [1, 0.5009, 200.1]).status).toBe("passed");
  expect(compareFloats(expected, "scores", [1, 0.502, 200])).toMatchObject({
    status: "failed",
    reason: expect.stringContaining("scores[1]"),
  });
  expect(compareFloats(expected, "scores", [1, Number.NaN, 200]).status).toBe("failed");
  expect(compareFloats(expected, "scores", [1, 0.5]).status).toBe("failed");
});

it("compares integers exactly", () => {
  expect(compareIntegers(vector({ counts: [1, 2] }), "counts", [1, 2]).status).toBe("passed");
  expect(compareIntegers(vector({ counts: [1, 2] }), "counts", [1, 3]).status).toBe("failed");
});

it("lets kept slots swap only where their scores tie", () => {
  const expected = vector({ indptr: [0, 2], indices: [0, 2] });
  const keep = (indices: number[], scores: number[] | undefined, freeBelow = 0) =>
    compareKeep(expected, [0, indices.length], indices, { scores, tokens: 4, freeBelow }).status;
  expect(keep([0, 2], undefined)).toBe("passed");
  expect(keep([0, 1], undefined)).toBe("failed");
  expect(keep([0, 1], [1, 0.5, 0.505, 0])).toBe("passed");
  expect(keep([0, 1], [1, 0.5, 0.6, 0])).toBe("failed");
  expect(keep([1, 3], [Infinity, Infinity, 0.3, 0.3])).toBe("passed");
  expect(keep([0, 1, 2], [1, 1, 1, 1])).toBe("failed");
  expect(keep([1, 2], undefined, 2)).toBe("passed");
});

it("reports the first difference", () => {
  const failure = { status: "failed", reason: "x" } as const;
  expect(first({ status: "passed" }, failure, { status: "failed", reason: "y" })).toBe(failure);
});

it("skips what it has no method for, and fails what throws", async () => {
  expect(await runCase(vector({}))).toMatchObject({ status: "skipped" });
  expect(await runCase(vector({}, { kind: "codec" }))).toMatchObject({ status: "skipped" });
  const broken = vector({}, { method: "snap-kv", params: { window: 0, ratio: 0.5 } });
  expect(await runCase(broken)).toMatchObject({ status: "failed" });
});
