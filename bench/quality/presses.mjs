// kvpress' presses by the names of kvpress-0.5.5.json, as our policies; `loose` ones choose at random
// or among equal ranks, so that their answers differ from run to run and from machine to machine.
const snapKV = (window, size) => ({
  name: "snap-kv",
  window,
  pooling: { kind: "avg", size },
  keepProtected: false,
});
const adaKV = (policy) => ({
  name: "ada-kv",
  policy,
  budget: { mode: "reserve-then-global", keepProtected: false },
});
const eps = { name: "expected-attention", epsilon: 1e-2 };

/** @type {Readonly<Record<string, { policy: object, loose?: boolean }>>} */
export const presses = {
  snapkv_w32_p5: { policy: snapKV(32, 5), loose: true },
  snapkv_w32_p21: { policy: snapKV(32, 21), loose: true },
  snapkv_w64_p5: { policy: snapKV(64, 5), loose: true },
  snapkv_w64_p21: { policy: snapKV(64, 21), loose: true },
  expected_attention: { policy: { name: "expected-attention" } },
  expected_attention_eps: { policy: eps },
  tova: { policy: { name: "tova" } },
  keydiff: { policy: { name: "key-diff" } },
  knorm: { policy: { name: "knorm" } },
  lagkv: { policy: { name: "lag-kv" }, loose: true },
  observed_attention: { policy: { name: "observed-attention" } },
  leverage: { policy: { name: "leverage-score" }, loose: true },
  non_causal_attn: { policy: { name: "non-causal-attention" } },
  random: { policy: { name: "random" }, loose: true },
  cur: { policy: { name: "cur" } },
  pyramidkv_w64_p5: {
    policy: { name: "pyramid-kv", window: 64, pooling: { kind: "avg", size: 5 } },
    loose: true,
  },
  pyramidkv_w64_p21: {
    policy: { name: "pyramid-kv", window: 64, pooling: { kind: "avg", size: 21 } },
    loose: true,
  },
  adakv_snapkv_w64_p5: { policy: adaKV(snapKV(64, 5)), loose: true },
  adakv_snapkv_w64_p21: { policy: adaKV(snapKV(64, 21)), loose: true },
  adakv_expected_attention: { policy: adaKV({ name: "expected-attention" }) },
  adakv_expected_attention_eps: { policy: adaKV(eps) },
  adakv_keydiff: { policy: adaKV({ name: "key-diff" }) },
  critical_adakv_snapkv_w64_p5: {
    policy: { name: "critical-ada-kv", policy: snapKV(64, 5) },
    loose: true,
  },
  critical_adakv_snapkv_w64_p21: {
    policy: { name: "critical-ada-kv", policy: snapKV(64, 21) },
    loose: true,
  },
  chunkkv_snapkv_w64_p5: { policy: { name: "chunk-kv", policy: snapKV(64, 5) }, loose: true },
  chunkkv_snapkv_w64_p21: { policy: { name: "chunk-kv", policy: snapKV(64, 21) }, loose: true },
  chunkkv_keydiff: { policy: { name: "chunk-kv", policy: { name: "key-diff" } } },
  compactor: { policy: { name: "compactor" }, loose: true },
  streaming_llm: { policy: { name: "streaming-llm", keepProtected: false } },
  kvzip: { policy: { name: "kv-zip" } },
};
