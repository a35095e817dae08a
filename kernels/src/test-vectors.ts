import { readFileSync } from "node:fs";

/** A conformance case copied beside a test: its JSON and its tensors as float32 arrays (integers are small). */
export interface TestVector {
  readonly id: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly shape: {
    readonly layers: number;
    readonly queryHeads: number;
    readonly kvHeads: number;
    readonly headDim: number;
    readonly tokens: number;
  };
  readonly tolerance: Readonly<Record<string, number>>;
  tensor(name: string): { readonly shape: readonly number[]; readonly data: Float32Array };
}

/** Reads `<name>.json` and `<name>.safetensors` (little-endian F32 and I32) from a folder. */
export function readVector(folder: URL, name: string): TestVector {
  const file = JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8"));
  const bytes = readFileSync(new URL(`${name}.safetensors`, folder));
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + headerLength).toString("utf8"));
  return {
    ...file,
    tensor(tensorName: string) {
      const { dtype, shape, data_offsets: offsets } = header[tensorName];
      const data = bytes.subarray(8 + headerLength + offsets[0], 8 + headerLength + offsets[1]);
      const length = data.length / 4;
      return {
        shape,
        data: Float32Array.from({ length }, (_, i) =>
          dtype === "F32" ? data.readFloatLE(4 * i) : data.readInt32LE(4 * i),
        ),
      };
    },
  };
}
