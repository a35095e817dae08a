/** What an architecture fixes or defaults where config.json is silent, as transformers 5 does. */
export interface Family {
  readonly modelType: string;
  readonly maxPositions: number;
  readonly normEpsilon: number;
  readonly theta: number;
  readonly tieWordEmbeddings: boolean;
  /** Absent: as many as query heads. */
  readonly numKvHeads?: number;
  /** Absent: hiddenSize / numQueryHeads. */
  readonly headDim?: number;
  /** Biases of q, k, v (and o): never, on q, k, v always, or where `attention_bias` says so. */
  readonly attentionBias: "never" | "qkv" | "field";
  readonly mlpBias: boolean;
  /**
   * Which layers slide: none; all where `sliding_window` is set; the later ones (Qwen); every
   * n-th is full (Gemma); layers without RoPE (SmolLM3).
   */
  readonly sliding: "never" | "all" | "after-max-window-layers" | "pattern" | "nope-layers";
  /** Window where the key is absent (null always means none). */
  readonly slidingWindow?: number;
  /** sliding = "pattern": every n-th layer is full, n = the value of `patternKey` where given. */
  readonly pattern?: number;
  readonly patternKey?: string;
  readonly queryKeyNorm?: boolean;
  /** q, k, v and gate, up are stored as one matrix each. */
  readonly fusedProjections?: boolean;
  /** Rotates the first `partial_rotary_factor` of a head. */
  readonly partialRope?: boolean;
  /** Every n-th layer has no RoPE unless `no_rope_layers` says otherwise. */
  readonly nopeInterval?: number;
  /** Sliding layers rotate by a table of their own with this theta. */
  readonly slidingTheta?: number;
  readonly unitOffsetNorms?: boolean;
  readonly sandwichNorms?: boolean;
  readonly scaledEmbedding?: boolean;
  /** Name of the activation's key. */
  readonly activationKey?: string;
  readonly activation?: string;
  /** Attention scale is queryPreAttentionScalar^-0.5 with this default. */
  readonly queryPreAttentionScalar?: number;
  /** Default of `attn_logit_softcapping`; absent: the family ignores the key. */
  readonly attentionSoftcap?: number;
  /** Default of `final_logit_softcapping`. */
  readonly logitSoftcap?: number;
  /** Honours Granite's four multipliers. */
  readonly multipliers?: boolean;
}

const llama: Family = {
  modelType: "llama",
  maxPositions: 2048,
  normEpsilon: 1e-6,
  theta: 10_000,
  tieWordEmbeddings: false,
  attentionBias: "field",
  mlpBias: true,
  sliding: "never",
};

const qwen: Family = {
  ...llama,
  modelType: "qwen2",
  maxPositions: 32_768,
  numKvHeads: 32,
  attentionBias: "qkv",
  mlpBias: false,
  sliding: "after-max-window-layers",
  slidingWindow: 4096,
};

const gemma: Family = {
  ...llama,
  modelType: "gemma2",
  maxPositions: 8192,
  tieWordEmbeddings: true,
  numKvHeads: 4,
  headDim: 256,
  mlpBias: false,
  sliding: "pattern",
  slidingWindow: 4096,
  pattern: 2,
  activationKey: "hidden_activation",
  activation: "gelu_pytorch_tanh",
  queryPreAttentionScalar: 256,
  unitOffsetNorms: true,
  sandwichNorms: true,
  scaledEmbedding: true,
};

export const families: ReadonlyMap<string, Family> = new Map<string, Family>([
  ["LlamaForCausalLM", llama],
  [
    "MistralForCausalLM",
    {
      ...llama,
      modelType: "mistral",
      maxPositions: 131_072,
      numKvHeads: 8,
      attentionBias: "never",
      mlpBias: false,
      sliding: "all",
      slidingWindow: 4096,
    },
  ],
  ["Qwen2ForCausalLM", qwen],
  [
    "Qwen3ForCausalLM",
    { ...qwen, modelType: "qwen3", headDim: 128, attentionBias: "field", queryKeyNorm: true },
  ],
  [
    "Phi3ForCausalLM",
    {
      ...llama,
      modelType: "phi3",
      maxPositions: 4096,
      normEpsilon: 1e-5,
      attentionBias: "never",
      mlpBias: false,
      sliding: "all",
      fusedProjections: true,
      partialRope: true,
    },
  ],
  ["Gemma2ForCausalLM", { ...gemma, attentionSoftcap: 50, logitSoftcap: 30 }],
  [
    "Gemma3ForCausalLM",
    {
      ...gemma,
      modelType: "gemma3_text",
      maxPositions: 131_072,
      theta: 1_000_000,
      pattern: 6,
      patternKey: "sliding_window_pattern",
      queryKeyNorm: true,
      slidingTheta: 10_000,
    },
  ],
  ["GraniteForCausalLM", { ...llama, modelType: "granite", multipliers: true }],
  [
    "SmolLM3ForCausalLM",
    {
      ...llama,
      modelType: "smollm3",
      maxPositions: 32_768,
      theta: 2_000_000,
      tieWordEmbeddings: true,
      numKvHeads: 4,
      sliding: "nope-layers",
      nopeInterval: 4,
    },
  ],
]);

export const supportedArchitectures: readonly string[] = [...families.keys()];
