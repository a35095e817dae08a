import type { GraphNode } from "@kvcache/core";
import { describe, expect, it } from "vitest";
import { llamaConfig } from "./__fixtures__/tiny-model.ts";
import { buildGraph } from "./build-graph.ts";
import { parseConfig, resolveTies } from "./config/decoder-config.ts";

const graphOf = (json: object) => buildGraph(parseConfig({ ...llamaConfig, ...json }));
const qwen3 = {
  architectures: ["Qwen3ForCausalLM"],
  model_type: "qwen3",
  head_dim: 6,
  rms_norm_eps: 1e-5,
  use_sliding_window: true,
  sliding_window: 16,
  max_window_layers: 0,
};

/** One line a node: what it writes, its op, what it reads. */
function line(node: GraphNode): string {
  const { op, out, ...rest } = node;
  const fields = Object.entries(rest).map(([key, value]) =>
    typeof value === "object"
      ? `${key}=${value.name}${value.rows ? `[${value.rows}]` : ""}`
      : `${key}=${value}`,
  );
  return `${out} = ${op} ${fields.join(" ")}`;
}

describe("buildGraph", () => {
  it("writes a Qwen3 of one layer", () => {
    const norm = "epsilon=0.00001 unitOffset=false";
    const layer = "model.layers.0";
    const attention = `${layer}.self_attn`;
    expect(graphOf(qwen3).nodes.map(line)).toEqual([
      "embedding = embed weight=model.embed_tokens.weight scale=1",
      `0.attentionInput = rmsNorm input=embedding weight=${layer}.input_layernorm.weight ${norm}`,
      `0.query = linear input=0.attentionInput weight=${attention}.q_proj.weight inFeatures=8 outFeatures=12`,
      `0.key = linear input=0.attentionInput weight=${attention}.k_proj.weight inFeatures=8 outFeatures=6`,
      `0.value = linear input=0.attentionInput weight=${attention}.v_proj.weight inFeatures=8 outFeatures=6`,
      `0.queryNormed = rmsNorm input=0.query weight=${attention}.q_norm.weight ${norm}`,
      `0.keyNormed = rmsNorm input=0.key weight=${attention}.k_norm.weight ${norm}`,
      "0.queryRotated = rope input=0.queryNormed table=0 numHeads=2",
      "0.keyRotated = rope input=0.keyNormed table=0 numHeads=1",
      `0.attention = pagedAttention query=0.queryRotated key=0.keyRotated value=0.value layer=0 scale=${6 ** -0.5} slidingWindow=16`,
      `0.attentionOutput = linear input=0.attention weight=${attention}.o_proj.weight inFeatures=12 outFeatures=8`,
      "0.attentionResidual = add a=embedding b=0.attentionOutput scale=1",
      `0.mlpInput = rmsNorm input=0.attentionResidual weight=${layer}.post_attention_layernorm.weight ${norm}`,
      `0.gate = linear input=0.mlpInput weight=${layer}.mlp.gate_proj.weight inFeatures=8 outFeatures=12`,
      `0.up = linear input=0.mlpInput weight=${layer}.mlp.up_proj.weight inFeatures=8 outFeatures=12`,
      "0.inner = gatedActivation gate=0.gate up=0.up activation=silu",
      `0.mlp = linear input=0.inner weight=${layer}.mlp.down_proj.weight inFeatures=12 outFeatures=8`,
      "0.mlpResidual = add a=0.attentionResidual b=0.mlp scale=1",
      "last = gather input=0.mlpResidual",
      `final = rmsNorm input=last weight=model.norm.weight ${norm}`,
      "head = linear input=final weight=lm_head.weight inFeatures=8 outFeatures=10",
      "logits = logits input=head scale=1",
    ]);
  });

  it("carries the numbers that a cache needs", () => {
    expect(graphOf({ ...qwen3, num_hidden_layers: 2, max_window_layers: 1 })).toMatchObject({
      shape: { numLayers: 2, numQueryHeads: 2, numKvHeads: 1, headDim: 6 },
      hiddenSize: 8,
      vocabSize: 10,
      maxPositions: 32_768,
      slidingWindow: [undefined, 16],
      output: "logits",
    });
  });

  it("slices the fused matrices of Phi3", () => {
    const phi3 = graphOf({ architectures: ["Phi3ForCausalLM"], model_type: "phi3" });
    const rows = phi3.nodes.flatMap((node) =>
      node.op === "linear" && node.weight.rows ? [[node.out, ...node.weight.rows]] : [],
    );
    expect(rows).toEqual([
      ["0.query", 0, 8],
      ["0.key", 8, 12],
      ["0.value", 12, 16],
      ["0.gate", 0, 12],
      ["0.up", 12, 24],
    ]);
  });

  it("norms both ends of Gemma2's branches", () => {
    const gemma2 = graphOf({ architectures: ["Gemma2ForCausalLM"], model_type: "gemma2" });
    const norms = gemma2.nodes.flatMap((node) => (node.op === "rmsNorm" ? [node] : []));
    expect(norms.map((node) => node.weight.name.split(".").at(-2))).toEqual([
      "input_layernorm",
      "post_attention_layernorm",
      "pre_feedforward_layernorm",
      "post_feedforward_layernorm",
      "norm",
    ]);
    expect(norms.every((node) => node.unitOffset)).toBe(true);
    expect(gemma2.nodes.at(-1)).toMatchObject({ op: "logits", softcap: 30 });
  });

  it("adds biases and reads a tied head from the embeddings", () => {
    const json = {
      ...llamaConfig,
      attention_bias: true,
      mlp_bias: true,
      tie_word_embeddings: true,
    };
    const graph = buildGraph(resolveTies(parseConfig(json), (name) => name.includes("embed")));
    const linears = graph.nodes.flatMap((node) => (node.op === "linear" ? [node] : []));
    expect(linears.map((node) => node.bias?.name.split(".").at(-2))).toEqual([
      ...["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
      undefined,
    ]);
    expect(linears.at(-1)?.weight.name).toBe("model.embed_tokens.weight");
  });

  it("leaves out the rotation of SmolLM3's NoPE layers", () => {
    const smollm3 = { architectures: ["SmolLM3ForCausalLM"], model_type: "smollm3" };
    const graph = graphOf({ ...smollm3, num_hidden_layers: 2, no_rope_layers: [1, 0] });
    const rotated = graph.nodes.flatMap((node) => (node.op === "rope" ? [node.out] : []));
    expect(rotated).toEqual(["0.queryRotated", "0.keyRotated"]);
  });

  it("writes each value once, before it is read", () => {
    const written = new Set<string>();
    for (const node of graphOf({ ...qwen3, num_hidden_layers: 3 }).nodes) {
      const reads = ["input", "query", "key", "value", "gate", "up", "a", "b"] as const;
      for (const key of reads) if (key in node) expect(written).toContain(Reflect.get(node, key));
      expect(written).not.toContain(node.out);
      written.add(node.out);
    }
  });
});
