// Rows of docs/quality.md: plans as `kvcache eval` takes them, and the ratios that each is run at.
const snapKV = (window, size) => `snap-kv(window=${window},pooling.size=${size})`;
/** KV-Compress' schedule of whole blocks over other scores. */
const scheduled = (policy) => `kv-compress(policy=${policy},protectedWindow=16)`;

export const plans = {
  kvZip: "kv-zip",
  keyDiff: "key-diff",
  adaKeyDiff: "ada-kv(policy=key-diff)",
  snapKV: snapKV(64, 21),
  adaSnapKV: `ada-kv(policy=${snapKV(64, 21)})`,
  scheduledKvZip: scheduled("kv-zip"),
  scheduledSnapKV: scheduled(snapKV(64, 21)),
  baklava: `baklava(profile=tiny,policy=${snapKV(32, 5)})`,
  uniform: snapKV(32, 5),
  dBudgetKV: "dbudget-kv(ordering=attention)",
};

/** Every method once, with its defaults, or with what model-tiny ships for it. */
const methods = [
  ...["snap-kv", "tova", "pyramid-kv", "window-kv", "finch", "fast-kv", "lava", "cake"],
  ...["defensive-kv", "layer-defensive-kv", "critical-kv", "critical-ada-kv", "ada-kv"],
  ...["ada-pyramid-kv", "zigzag-kv", "baklava(profile=tiny)", "head-kv(profile=tiny)"],
  ...["heat-kv(profile=tiny)", "duo-attention(profile=tiny)", "sim-layer-kv(threshold=0.9)"],
  ...["dbudget-kv", "h2o", "observed-attention", "scissorhands", "kv-compress", "r-kv"],
  ...["streaming-llm", "random", "knorm", "lag-kv", "leverage-score", "cur", "compactor"],
  ...["non-causal-attention", "expected-attention", "cap-kv", "q-filters(filters=tiny)"],
  ...["kv-zap(surrogate=tiny)", "kv-zip-plus", "kv-compose", "block", "chunk", "chunk-kv"],
  ...["entropy-gated-chunk-kv", "composed", "per-layer", "dms", "merging", "key-rerotation"],
  ...["quest"],
];

/** What cannot have a row on these tasks, and why. */
export const withoutRow = {
  "cam, decoding, prefill-decoding":
    "compress while an answer grows; the answers of these tasks end before",
  "fast-kv-zip, lu-kv": "weights and curves are published for other models only",
  "kv-grad": "needs gradients, which a forward-only engine has not",
};

/** Its target is a cap: 1 lets its rule alone decide. */
const uncapped = (plan) => plan.startsWith("dbudget-kv");
const all = [...new Set([...Object.values(plans), ...methods])];

/** Plans and the ratios that they are run at; one that takes no target is run once, whatever those. */
export const rows = [
  { plans: all.filter((plan) => !uncapped(plan)), ratios: [0.5, 0.25, 0.2, 0.1] },
  { plans: all.filter(uncapped), ratios: [1] },
  { plans: [plans.scheduledKvZip], ratios: [0.125] },
  { plans: [plans.baklava, plans.uniform], ratios: [0.3] },
];
