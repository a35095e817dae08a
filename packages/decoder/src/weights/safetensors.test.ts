import { describe, expect, it } from "vitest";
import {
  encode,
  f32,
  layOut,
  safetensors,
  safetensorsFile,
  type TinyTensor,
} from "../__fixtures__/tiny-model.ts";
import { type ModelFiles, memoryFiles } from "../files/model-files.ts";
import { openSafetensors } from "./safetensors.ts";

const half: TinyTensor = { dtype: "BF16", shape: [3], bytes: Uint8Array.of(1, 2, 3, 4, 5, 6) };
const tensors = {
  half,
  matrix: f32([2, 2], [1, 2, 3, 4]),
  scalar: f32([], [7]),
  empty: f32([0, 5], []),
  ids: { dtype: "I64", shape: [1], bytes: new Uint8Array(8) },
};
const open = (bytes: Uint8Array) => openSafetensors(memoryFiles([["model.safetensors", bytes]]));

describe("openSafetensors", () => {
  const withoutSync = (files: ModelFiles): ModelFiles => {
    const { readRangeSync: _, ...rest } = files;
    return rest;
  };
  const single = memoryFiles([["model.safetensors", safetensors(tensors)]]);
  it.each([
    ["range by range", single],
    ["ahead", withoutSync(single)],
  ])("reads tensors %s, aligned for typed arrays", async (_, files) => {
    const weights = await openSafetensors(files);
    const { dtype, shape, data } = weights.get("matrix");
    expect([dtype, shape]).toEqual(["f32", [2, 2]]);
    expect([...new Float32Array(data.buffer, data.byteOffset, 4)]).toEqual([1, 2, 3, 4]);
    expect(weights.get("half")).toMatchObject({ dtype: "bf16", data: half.bytes });
    expect(weights.get("scalar").shape).toEqual([]);
    expect([...weights.sample("half", 4)]).toEqual([1, 2, 3, 4]);
    expect(weights.has("ids")).toBe(true);
    expect(weights.has("other")).toBe(false);
    expect(() => weights.get("ids")).toThrow("ids in model.safetensors is stored as I64");
    expect(() => weights.get("other")).toThrow("other is missing");
  });

  it("prefers the single file, else follows the index", async () => {
    const shards = memoryFiles([
      ["a-1.safetensors", safetensors({ x: f32([1], [1]), y: f32([1], [2]) })],
      ["b-2.safetensors", safetensors({ y: f32([1], [3]) })],
      [
        "model.safetensors.index.json",
        encode({ weight_map: { x: "a-1.safetensors", y: "b-2.safetensors" } }),
      ],
    ]);
    const weights = await openSafetensors(shards);
    expect(new Float32Array(weights.get("y").data.slice().buffer)[0]).toBe(3);
  });

  it.each([
    ["../../etc/passwd"],
    ["/etc/passwd"],
    ["..\\..\\secret.safetensors"],
    ["sub/a.safetensors"],
    ["a.safetensors\0"],
    [7],
    [null],
  ])("refuses the shard name %j without opening it", async (shard) => {
    const opened: string[] = [];
    const index = memoryFiles([
      ["model.safetensors.index.json", encode({ weight_map: { x: shard } })],
    ]);
    const files: ModelFiles = {
      ...index,
      size: (file) => {
        opened.push(file);
        return index.size(file);
      },
    };
    await expect(openSafetensors(files)).rejects.toThrow("model.safetensors.index.json");
    expect(opened).toEqual(["model.safetensors", "model.safetensors.index.json"]);
  });

  it.each([
    ["no weight_map", {}, "weight_map"],
    ["a list", { weight_map: [] }, "weight_map"],
    ["a missing shard", { weight_map: { x: "b.safetensors" } }, "b.safetensors is missing"],
    [
      "a shard without the tensor",
      { weight_map: { z: "a.safetensors" } },
      "puts z in a.safetensors",
    ],
  ])("refuses an index with %s", async (_, index, message) => {
    const files = memoryFiles([
      ["a.safetensors", safetensors({ x: f32([1], [1]) })],
      ["model.safetensors.index.json", encode(index)],
    ]);
    await expect(openSafetensors(files)).rejects.toThrow(message);
  });

  it("names the file that is missing", async () => {
    await expect(openSafetensors(memoryFiles([]))).rejects.toThrow("model.safetensors is missing");
  });
});

describe("a header is refused where", () => {
  const good = safetensors(tensors);
  const { data } = layOut(tensors);
  const length = (value: bigint) => safetensorsFile("{}", data, value);
  it.each([
    ["the file is empty", new Uint8Array()],
    ["the length is cut", good.subarray(0, 5)],
    ["the header is cut", good.subarray(0, 40)],
    ["the data is cut", good.subarray(0, good.length - 3)],
    ["its length is 0", length(0n)],
    ["its length is 2^62", length(1n << 62n)],
    ["its length is 2^64 - 1", length((1n << 64n) - 1n)],
    ["it is not JSON", safetensorsFile("{this is: not json]", data)],
    ["it is an array", safetensorsFile([1, 2, 3], data)],
    ["bytes follow the last tensor", Uint8Array.of(...good, 0)],
  ])("%s", async (_, bytes) => {
    await expect(open(bytes)).rejects.toMatchObject({
      code: "invalid-model",
      message: expect.stringContaining("model.safetensors"),
    });
  });

  it("a name occurs twice", async () => {
    const { header } = layOut({ x: f32([1], [1]), y: f32([1], [2]) });
    const twice = `${JSON.stringify(header).slice(0, -1)}, "x": ${JSON.stringify(header.y)}}`;
    await expect(open(safetensorsFile(twice, new Uint8Array(8)))).rejects.toThrow('"x" twice');
  });

  const changed = (change: object) => {
    const { header } = layOut(tensors);
    return safetensorsFile({ ...header, matrix: { ...header.matrix, ...change } }, data);
  };
  it.each([
    ["the dtype is unknown", { dtype: "Q9_Z" }, "Q9_Z"],
    ["the dtype is no text", { dtype: 5 }, "dtype"],
    ["offsets have types", { data_offsets: ["6", 22.5] }, "data_offsets"],
    ["offsets run backwards", { data_offsets: [22, 6] }, "data_offsets"],
    ["offsets are negative", { data_offsets: [-16, 0] }, "data_offsets"],
    ["offsets leave the file", { data_offsets: [6, 6000] }, "data_offsets"],
    ["shape and bytes differ", { shape: [2, 3] }, "shape"],
    ["a product overflows 64 bits", { shape: [2 ** 32, 2 ** 32, 2 ** 32] }, "shape"],
    ["a product is 0 in 64 bits", { shape: [2 ** 52, 2 ** 12, 16] }, "shape"],
    ["a size is no integer", { shape: [2, 2.5] }, "shape"],
    ["tensors share bytes", { data_offsets: [4, 20] }, "same bytes"],
    ["bytes belong to none", { shape: [3], data_offsets: [10, 22] }, "belong to no tensor"],
  ])("%s", async (_, change, message) => {
    await expect(open(changed(change))).rejects.toThrow(message);
    await expect(open(changed(change))).rejects.toThrow("matrix");
  });
});
