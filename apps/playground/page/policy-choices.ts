export interface PolicyChoice {
  readonly name: string;
  /** What it keeps, in a few words. */
  readonly idea: string;
  readonly options?: Readonly<Record<string, unknown>>;
}

// Wide pooling: a number is read digit by digit, each found through the one before it.
const reading = { window: 32, pooling: { kind: "avg", size: 21 } };

export const policyChoices: readonly PolicyChoice[] = [
  { name: "full", idea: "keeps every token" },
  { name: "streaming-llm", idea: "the first tokens and the most recent ones" },
  { name: "snap-kv", idea: "what the last queries look at", options: reading },
  { name: "ada-kv", idea: "SnapKV, with a budget for each head", options: reading },
  { name: "pyramid-kv", idea: "more tokens in lower layers", options: reading },
  {
    name: "kv-compress",
    idea: "whole blocks, least attended first",
    options: { pooling: { kind: "max", size: 21 } },
  },
  { name: "h2o", idea: "tokens that gathered the most attention" },
  { name: "tova", idea: "what the last token looks at" },
  { name: "knorm", idea: "keys of small norm" },
  { name: "key-diff", idea: "keys unlike the others" },
  { name: "expected-attention", idea: "what future queries should look at" },
  { name: "layer-defensive-kv", idea: "guards against the worst case, layer by layer" },
];
