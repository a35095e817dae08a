import { describe, expect, it } from "vitest";
import {
  encode,
  f32,
  llamaConfig,
  safetensors,
  tinyFiles,
  tinyTensors,
} from "./__fixtures__/tiny-model.ts";
import { memoryFiles } from "./files/model-files.ts";
import { loadModel, tokenizerOf } from "./load-model.ts";

const load = (files: Iterable<readonly [string, Uint8Array]>) => loadModel(memoryFiles(files));
const loadTensors = (tensors: ReturnType<typeof tinyTensors>) =>
  load([...tinyFiles(), ["model.safetensors", safetensors(tensors)]]);

describe("loadModel", () => {
  it("reads config, weights and generation defaults", async () => {
    const model = await load([
      ...tinyFiles(),
      ["generation_config.json", encode({ eos_token_id: [2, 3] })],
    ]);
    expect(model.name).toBe("memory");
    expect(model.graph.shape).toEqual({
      numLayers: 1,
      numQueryHeads: 2,
      numKvHeads: 1,
      headDim: 4,
    });
    expect(model.generationConfig.eosTokenIds).toEqual([2, 3]);
    expect(model.weights.get("model.norm.weight").shape).toEqual([8]);
    expect(model.fingerprint).toMatch(/^[0-9a-f]{32}$/);
  });

  it("works without a tokenizer until text is needed", async () => {
    const model = await load(tinyFiles());
    expect(model.tokenizer).toBeUndefined();
    expect(() => tokenizerOf(model)).toThrow("tokenizer.json");
  });

  it.each([["config.json"], ["model.safetensors"]])("needs %s", async (file) => {
    const files = tinyFiles();
    files.delete(file);
    await expect(load(files)).rejects.toMatchObject({
      code: "invalid-model",
      message: expect.stringContaining(file),
    });
  });

  it("says not-found for a path that does not exist", async () => {
    await expect(loadModel("/no/such/folder")).rejects.toMatchObject({ code: "not-found" });
  });

  it("gives models that differ different fingerprints, however they are sharded", async () => {
    const tensors = tinyTensors(llamaConfig);
    const { "model.norm.weight": norm, ...others } = tensors;
    const sharded = await load([
      ["config.json", encode(llamaConfig)],
      ["a.safetensors", safetensors(others)],
      ["b.safetensors", safetensors({ "model.norm.weight": norm! })],
      [
        "model.safetensors.index.json",
        encode({
          weight_map: {
            ...Object.fromEntries(Object.keys(others).map((name) => [name, "a.safetensors"])),
            "model.norm.weight": "b.safetensors",
          },
        }),
      ],
    ]);
    const plain = await loadTensors(tensors);
    const tuned = await loadTensors({
      ...tensors,
      "model.norm.weight": f32([8], Array(8).fill(1)),
    });
    const other = await load(tinyFiles({ ...llamaConfig, rope_theta: 20_000 }));
    expect(sharded.fingerprint).toBe(plain.fingerprint);
    expect(new Set([plain, tuned, other].map((model) => model.fingerprint)).size).toBe(3);
  });
});

describe("weights are checked", () => {
  const query = "model.layers.0.self_attn.q_proj.weight";
  it("for presence", async () => {
    const { [query]: _, ...rest } = tinyTensors(llamaConfig);
    await expect(loadTensors(rest)).rejects.toThrow(
      `${query} [8,8] is missing in ["model.safetensors"]`,
    );
  });

  it.each([
    ["another size", [4, 8]],
    ["another rank", [64]],
  ])("for shape: %s", async (_, shape) => {
    const size = shape.reduce((a, b) => a * b);
    const tensors = { ...tinyTensors(llamaConfig), [query]: f32(shape, Array(size).fill(0)) };
    await expect(loadTensors(tensors)).rejects.toThrow(
      `${query} in model.safetensors has shape [${shape}]; config.json asks for [8,8]`,
    );
  });

  const last = (dtype: string, ...bytes: number[]) => ({
    dtype,
    shape: [8],
    bytes: Uint8Array.of(...Array(14).fill(0), ...bytes),
  });
  it.each([
    ["F32 NaN", f32([8], [0, 0, 0, 0, 0, 0, 0, Number.NaN])],
    ["F32 infinity", f32([8], [0, Number.NEGATIVE_INFINITY, 0, 0, 0, 0, 0, 0])],
    ["BF16 NaN", last("BF16", 0xc0, 0x7f)],
    ["F16 infinity", last("F16", 0x00, 0x7c)],
  ])("for finite values: %s", async (_, norm) => {
    const tensors = { ...tinyTensors(llamaConfig), "model.norm.weight": norm };
    await expect(loadTensors(tensors)).rejects.toThrow(/model\.norm\.weight .* is NaN or Inf/);
  });

  it("for a dtype that can be read", async () => {
    const norm = { dtype: "F64", shape: [8], bytes: new Uint8Array(64) };
    await expect(
      loadTensors({ ...tinyTensors(llamaConfig), "model.norm.weight": norm }),
    ).rejects.toMatchObject({ code: "unsupported", message: expect.stringContaining("F64") });
  });

  it("and what no decoder reads is left alone", async () => {
    const extra = f32([2], [Number.NaN, 1]);
    const model = await loadTensors({ ...tinyTensors(llamaConfig), "rotary_emb.inv_freq": extra });
    expect(model.weights.has("rotary_emb.inv_freq")).toBe(true);
  });
});
