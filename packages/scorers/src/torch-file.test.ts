import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { convertRetentionGatesFile } from "./fast-kv-zip-file.ts";
import { readTorchFile } from "./torch-file.ts";

// Written by Python's zipfile and pickle with the names and references that torch.save uses.
const bytes = new Uint8Array(readFileSync(new URL("./__fixtures__/tensors.pt", import.meta.url)));

describe("readTorchFile", () => {
  it("reads lists of named tensors, whatever their numbers and strides", () => {
    const file = readTorchFile(bytes) as Map<string, unknown>;
    const { module, ...rest } = Object.fromEntries(file);
    expect(rest).toEqual({ epoch: 300, rate: 0.125, name: "gates", done: true, big: -70_000 });
    const [first, second] = module as Map<string, unknown>[];
    expect(first!.get("weight")).toEqual({
      shape: [2, 3],
      data: Float32Array.of(1, 2, 3, 4, 5, 6),
    });
    expect(first!.get("turned")).toEqual({ shape: [2, 2], data: Float32Array.of(2, 5, 3, 6) });
    expect(second!.get("bias")).toEqual({ shape: [2], data: Float32Array.of(0.5, -1.5) });
    expect(second!.get("half")).toEqual({ shape: [1, 2], data: Float32Array.of(0.25, 8) });
  });

  it("refuses what is cut off or something else", () => {
    expect(() => readTorchFile(bytes.subarray(0, 400))).toThrow("has no directory");
    expect(() => readTorchFile(new Uint8Array(5))).toThrow("has no directory");
    const compressed = bytes.slice();
    // The method of the directory's first entry.
    const at = compressed.findIndex((_, i) =>
      [0x50, 0x4b, 1, 2].every((byte, j) => compressed[i + j] === byte),
    );
    compressed[at + 10] = 8;
    expect(() => readTorchFile(compressed)).toThrow("archive/data.pkl is compressed");
    const odd = bytes.slice();
    const pickle = odd.findIndex((byte, i) => byte === 0x80 && odd[i + 1] === 2 && i > 30);
    odd[pickle + 2] = 0xff;
    expect(() => readTorchFile(odd)).toThrow("the instruction 0xff");
    // Tensors of layers, but not those of gates.
    expect(() => convertRetentionGatesFile(bytes)).toThrow("lacks q_proj.weight");
  });
});
