import { readBudgetCurve, readQFilters, readRetentionGates } from "@kvcache/policies";
import { expect, it } from "vitest";
import { type ConvertTarget, conversions } from "./conversions.ts";

const model: ConvertTarget = {
  name: "small",
  fingerprint: "a".repeat(32),
  shape: { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 4 },
};
const file = (content: string | Uint8Array, path = "file") => ({
  path,
  bytes: typeof content === "string" ? new TextEncoder().encode(content) : content,
});

/** A safetensors file of ascending numbers, as others write it. */
function safetensors(shapes: Readonly<Record<string, readonly number[]>>): Uint8Array {
  let end = 0;
  const header = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => {
      const begin = end;
      end += 4 * shape.reduce((a, b) => a * b, 1);
      return [name, { dtype: "F32", shape, data_offsets: [begin, end] }];
    }),
  );
  const text = new TextEncoder().encode(JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  const data = Float32Array.from({ length: end / 4 }, (_, i) => i / 100);
  bytes.set(new Uint8Array(data.buffer), 8 + text.length);
  return bytes;
}

const layerShapes = {
  "q_proj.weight": [12, 8],
  "q_proj.bias": [12],
  "k_proj.weight": [6, 8],
  "q_norm.weight": [3],
  "k_norm.weight": [3],
  k_base: [2, 1, 5, 3],
  b: [2, 1, 2],
};

it("binds what is published to the model", () => {
  const published = file(safetensors({ q_filters: [2, 2, 4] }));
  const filters = readQFilters(conversions["q-filters"]!.convert([published], model) as Uint8Array);
  expect(filters.model).toBe(model.fingerprint);
  expect(filters.filters[3]).toBeCloseTo(0.03);
  const loose = conversions["q-filters"]!.convert([published], undefined) as Uint8Array;
  expect(readQFilters(loose).model).toBe("");
  const other = { ...model, shape: { ...model.shape, numLayers: 3 } };
  expect(() => conversions["q-filters"]!.convert([published], other)).toThrow("another model");
});

it("joins gates of layers from one file, or from one each", () => {
  const { convert } = conversions["fast-kv-zip"]!;
  const both = Object.fromEntries(
    [0, 1].flatMap((layer) =>
      Object.entries(layerShapes).map(([name, shape]) => [`layers.${layer}.${name}`, shape]),
    ),
  );
  const joined = readRetentionGates(convert([file(safetensors(both))], model) as Uint8Array);
  expect(joined).toMatchObject({ numLayers: 2, numKvHeads: 2, groupSize: 2, width: 3 });
  const single = file(safetensors(layerShapes));
  const apart = readRetentionGates(convert([single, single], model) as Uint8Array);
  expect(apart.tensors.gateBias.slice(4)).toEqual(apart.tensors.gateBias.slice(0, 4));
  const { "layers.0.b": _, ...lacking } = both;
  expect(() => convert([file(safetensors(lacking))], model)).toThrow("gate lacks b");
  expect(() => convert([file("PK\u0003\u0004")], model)).toThrow();
  const scattered = safetensors({ "2.b": [2, 1, 2] });
  expect(() => convert([file(scattered)], model)).toThrow("no gate of layer 0");
});

it("reads patterns, head scores and curves", () => {
  const duo = conversions["duo-attention"]!.convert([file("1 0.5\n0 0.25\n")], model) as string;
  expect(JSON.parse(duo)).toMatchObject({
    kind: "duo-attention",
    model: { name: "small", fingerprint: model.fingerprint },
    arrays: { headScores: { values: [1, 0.5, 0, 0.25] } },
  });
  const sizes = { ...file('{"sink_size": 2, "recent_size": 5}'), path: "config.json" };
  const sized = conversions["duo-attention"]!.convert([sizes, file("1 0.5\n0 0.25\n")], model);
  expect(JSON.parse(sized as string).settings).toEqual({ onTheFly: false, sinks: 2, recent: 5 });
  const scores = Object.fromEntries(
    [0, 1].flatMap((layer) => [0, 1, 2, 3].map((head) => [`${layer}-${head}`, [head + layer]])),
  );
  const heads = conversions["head-kv"]!.convert([file(JSON.stringify(scores))], model) as string;
  expect(JSON.parse(heads).arrays.headScores.values).toEqual([0, 1, 2, 3, 1, 2, 3, 4]);
  const header = "{'descr': '<f4', 'fortran_order': False, 'shape': (99, 2, 2), }\n";
  const npy = Buffer.concat([
    Buffer.from([0x93, ...Buffer.from("NUMPY"), 1, 0, header.length, 0]),
    Buffer.from(header),
    Buffer.from(new Float32Array(396).fill(0.5).buffer),
  ]);
  const curve = conversions["lu-kv"]!.convert([file(npy)], model) as Uint8Array;
  expect(readBudgetCurve(curve)).toMatchObject({ shape: [99, 2, 2], model: model.fingerprint });
  expect(() => conversions["lu-kv"]!.convert([file(npy), file(npy)], model)).toThrow("One file");
});

it("says for every method where its files are published", () => {
  for (const { from } of Object.values(conversions))
    expect(from).toMatch(/github.com|Hugging Face/);
});
