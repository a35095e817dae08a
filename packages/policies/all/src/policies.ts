// Written by scripts/new-package.mjs from the folders beside this one.
import { adaKV } from "@kvcache/policy-ada-kv";
import { adaPyramidKV } from "@kvcache/policy-ada-pyramid-kv";
import { baklava } from "@kvcache/policy-baklava";
import { block } from "@kvcache/policy-block";
import { cake } from "@kvcache/policy-cake";
import { cam } from "@kvcache/policy-cam";
import { capKV } from "@kvcache/policy-cap-kv";
import { chunk } from "@kvcache/policy-chunk";
import { chunkKV } from "@kvcache/policy-chunk-kv";
import { compactor } from "@kvcache/policy-compactor";
import { composed } from "@kvcache/policy-composed";
import { criticalAdaKV } from "@kvcache/policy-critical-ada-kv";
import { criticalKV } from "@kvcache/policy-critical-kv";
import { cur } from "@kvcache/policy-cur";
import { dBudgetKV } from "@kvcache/policy-dbudget-kv";
import { decoding } from "@kvcache/policy-decoding";
import { defensiveKV } from "@kvcache/policy-defensive-kv";
import { dms } from "@kvcache/policy-dms";
import { duoAttention } from "@kvcache/policy-duo-attention";
import { entropyGatedChunkKV } from "@kvcache/policy-entropy-gated-chunk-kv";
import { expectedAttention } from "@kvcache/policy-expected-attention";
import { fastKV } from "@kvcache/policy-fast-kv";
import { fastKVzip } from "@kvcache/policy-fast-kv-zip";
import { finch } from "@kvcache/policy-finch";
import { full } from "@kvcache/policy-full";
import { h2o } from "@kvcache/policy-h2o";
import { headKV } from "@kvcache/policy-head-kv";
import { heatKV } from "@kvcache/policy-heat-kv";
import { keyDiff } from "@kvcache/policy-key-diff";
import { keyRerotation } from "@kvcache/policy-key-rerotation";
import { knorm } from "@kvcache/policy-knorm";
import { kvCompose } from "@kvcache/policy-kv-compose";
import { kvCompress } from "@kvcache/policy-kv-compress";
import { kvGrad } from "@kvcache/policy-kv-grad";
import { kvZap } from "@kvcache/policy-kv-zap";
import { kvZip } from "@kvcache/policy-kv-zip";
import { kvZipPlus } from "@kvcache/policy-kv-zip-plus";
import { lagKV } from "@kvcache/policy-lag-kv";
import { lava } from "@kvcache/policy-lava";
import { layerDefensiveKV } from "@kvcache/policy-layer-defensive-kv";
import { leverageScore } from "@kvcache/policy-leverage-score";
import { luKV } from "@kvcache/policy-lu-kv";
import { merging } from "@kvcache/policy-merging";
import { nonCausalAttention } from "@kvcache/policy-non-causal-attention";
import { observedAttention } from "@kvcache/policy-observed-attention";
import { perLayer } from "@kvcache/policy-per-layer";
import { prefillDecoding } from "@kvcache/policy-prefill-decoding";
import { pyramidKV } from "@kvcache/policy-pyramid-kv";
import { qFilters } from "@kvcache/policy-q-filters";
import { quest } from "@kvcache/policy-quest";
import { rKV } from "@kvcache/policy-r-kv";
import { random } from "@kvcache/policy-random";
import { scissorhands } from "@kvcache/policy-scissorhands";
import { simLayerKV } from "@kvcache/policy-sim-layer-kv";
import { snapKV } from "@kvcache/policy-snap-kv";
import { streamingLLM } from "@kvcache/policy-streaming-llm";
import { tova } from "@kvcache/policy-tova";
import { windowKV } from "@kvcache/policy-window-kv";
import { zigZagKV } from "@kvcache/policy-zigzag-kv";

/** Factories by name. */
export const policies = {
  "ada-kv": adaKV,
  "ada-pyramid-kv": adaPyramidKV,
  baklava,
  block,
  cake,
  cam,
  "cap-kv": capKV,
  chunk,
  "chunk-kv": chunkKV,
  compactor,
  composed,
  "critical-ada-kv": criticalAdaKV,
  "critical-kv": criticalKV,
  cur,
  "dbudget-kv": dBudgetKV,
  decoding,
  "defensive-kv": defensiveKV,
  dms,
  "duo-attention": duoAttention,
  "entropy-gated-chunk-kv": entropyGatedChunkKV,
  "expected-attention": expectedAttention,
  "fast-kv": fastKV,
  "fast-kv-zip": fastKVzip,
  finch,
  full,
  h2o,
  "head-kv": headKV,
  "heat-kv": heatKV,
  "key-diff": keyDiff,
  "key-rerotation": keyRerotation,
  knorm,
  "kv-compose": kvCompose,
  "kv-compress": kvCompress,
  "kv-grad": kvGrad,
  "kv-zap": kvZap,
  "kv-zip": kvZip,
  "kv-zip-plus": kvZipPlus,
  "lag-kv": lagKV,
  lava,
  "layer-defensive-kv": layerDefensiveKV,
  "leverage-score": leverageScore,
  "lu-kv": luKV,
  merging,
  "non-causal-attention": nonCausalAttention,
  "observed-attention": observedAttention,
  "per-layer": perLayer,
  "prefill-decoding": prefillDecoding,
  "pyramid-kv": pyramidKV,
  "q-filters": qFilters,
  quest,
  "r-kv": rKV,
  random,
  scissorhands,
  "sim-layer-kv": simLayerKV,
  "snap-kv": snapKV,
  "streaming-llm": streamingLLM,
  tova,
  "window-kv": windowKV,
  "zigzag-kv": zigZagKV,
};
