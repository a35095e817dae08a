import { Counter, Gauge, Histogram, Registry } from "prom-client";

const seconds = [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];
const fractions = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
const blockSeconds = [0.001, 0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14400];
const tokens = [1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 131072];

/** Labels that every metric has. */
const own = ["model_name", "engine"] as const;
export type OwnLabels = { readonly [name in (typeof own)[number]]: string };

/**
 * Everything that /metrics shows. Names of vLLM where it has them, so that its dashboards and
 * routers work; `kvcache:` for what only a compressed cache has.
 */
export function createMetrics() {
  /** Called before the metrics are read. */
  const collectors: (() => void)[] = [];
  /** Histograms without further labels. */
  const plain: Histogram[] = [];
  const registry = new Registry();
  const registers = [registry];
  const gauge = <L extends string = never>(name: string, help: string, labels: readonly L[] = []) =>
    new Gauge({ name, help, labelNames: [...own, ...labels], registers });
  const counter = <L extends string = never>(
    name: string,
    help: string,
    labels: readonly L[] = [],
  ) => new Counter({ name, help, labelNames: [...own, ...labels], registers });
  const histogram = <L extends string = never>(
    name: string,
    help: string,
    buckets: number[],
    labels: readonly L[] = [],
  ) => {
    const made = new Histogram({ name, help, buckets, labelNames: [...own, ...labels], registers });
    if (labels.length === 0) plain.push(made);
    return made;
  };

  return Object.freeze({
    collectors,
    /** Shows everything of a model from the beginning, not from its first observation on. */
    show(labels: OwnLabels) {
      for (const one of plain) one.zero(labels);
    },
    contentType: registry.contentType,
    text() {
      for (const collect of collectors) collect();
      return registry.metrics();
    },
    waiting: gauge("vllm:num_requests_waiting", "Requests that wait for a place"),
    running: gauge("vllm:num_requests_running", "Requests that are computed"),
    cacheUsage: gauge(
      "vllm:kv_cache_usage_perc",
      "Fraction of the blocks that sequences hold, as they are after compression",
    ),
    cacheConfig: gauge("vllm:cache_config_info", "Sizes of the cache", [
      "block_size",
      "num_gpu_blocks",
    ]),
    prefixQueries: counter("vllm:prefix_cache_queries_total", "Prompt tokens looked up"),
    prefixHits: counter("vllm:prefix_cache_hits_total", "Prompt tokens found in the cache"),
    preemptions: counter("vllm:num_preemptions_total", "Sequences that lost their place"),
    promptTokens: counter("vllm:prompt_tokens_total", "Prompt tokens of admitted requests"),
    generationTokens: counter("vllm:generation_tokens_total", "Tokens generated"),
    success: counter("vllm:request_success_total", "Answers by the reason of their end", [
      "finished_reason",
    ]),
    timeToFirstToken: histogram(
      "vllm:time_to_first_token_seconds",
      "From the request to its first token",
      seconds,
    ),
    interToken: histogram(
      "vllm:inter_token_latency_seconds",
      "Between two tokens of an answer",
      fractions,
    ),
    endToEnd: histogram(
      "vllm:e2e_request_latency_seconds",
      "From the request to the end of its last answer",
      seconds,
    ),
    queueTime: histogram("vllm:request_queue_time_seconds", "Waiting for a place", seconds),
    prefillTime: histogram(
      "vllm:request_prefill_time_seconds",
      "From the first computation to the first token",
      seconds,
    ),
    decodeTime: histogram(
      "vllm:request_decode_time_seconds",
      "From the first token to the last",
      seconds,
    ),
    promptSizes: histogram("vllm:request_prompt_tokens", "Tokens of a prompt", tokens),
    generationSizes: histogram("vllm:request_generation_tokens", "Tokens of an answer", tokens),
    iterationTokens: histogram("vllm:iteration_tokens_total", "Tokens of one step", tokens),
    blockLifetime: histogram(
      "vllm:kv_block_lifetime_seconds",
      "From taking a block to giving it back (one block in 16 is watched)",
      blockSeconds,
    ),
    blockIdle: histogram(
      "vllm:kv_block_idle_before_evict_seconds",
      "From the last sequence's leaving a block of the prefix cache to giving it back (sampled)",
      blockSeconds,
    ),
    blockReuseGap: histogram(
      "vllm:kv_block_reuse_gap_seconds",
      "From the last sequence's leaving a block of the prefix cache to its next use (sampled)",
      blockSeconds,
    ),
    prefixBytes: gauge("kvcache:prefix_bytes", "Bytes of the blocks that the prefix cache holds"),
    prefixPinnedBytes: gauge(
      "kvcache:prefix_pinned_bytes",
      "Of these, what requests asked to keep",
    ),
    prefixMaxBytes: gauge("kvcache:prefix_max_bytes", "Most bytes that the prefix cache may hold"),
    swapBytes: gauge("kvcache:swap_bytes", "Bytes of compressed requests that lost their place"),
    swapMaxBytes: gauge("kvcache:swap_max_bytes", "Most bytes that may wait so"),
    snapshotFiles: gauge("kvcache:snapshot_files", "Snapshots on disk"),
    snapshotBytes: gauge("kvcache:snapshot_bytes", "Their bytes"),
    snapshotMaxBytes: gauge("kvcache:snapshot_max_bytes", "Most bytes of all snapshots"),
    externalQueries: counter(
      "vllm:external_prefix_cache_queries_total",
      "Prompt tokens looked up in the store that replicas share",
    ),
    externalHits: counter(
      "vllm:external_prefix_cache_hits_total",
      "Prompt tokens that came from the store",
    ),
    storeUp: gauge("kvcache:store_up", "1 while the store answers"),
    storeFailures: counter("kvcache:store_failures_total", "Calls of the store that failed"),
    storeQueueBytes: gauge(
      "kvcache:store_queue_bytes",
      "Bytes that wait to be written to the store",
    ),
    storeBytes: counter("kvcache:store_bytes_total", "Bytes to and from the store", ["direction"]),
    storeDropped: counter(
      "kvcache:store_dropped_total",
      "Values that were not written, or not used, by the reason",
      ["reason"],
    ),
    storeSeconds: histogram("kvcache:store_seconds", "One call of the store", fractions, [
      "operation",
    ]),
    events: counter("kvcache:kv_events_total", "Events that were published", ["event"]),
    evicted: counter(
      "kvcache:tokens_evicted_total",
      "Entries (token × KV head) that compressions evicted",
      ["policy", "layer_group"],
    ),
    tokensResident: gauge(
      "kvcache:tokens_resident",
      "Tokens cached by all sequences, averaged over layers and heads",
    ),
    bytesResident: gauge(
      "kvcache:bytes_resident",
      "Bytes of the blocks that sequences and the prefix index hold",
    ),
    compressionRatio: gauge(
      "kvcache:compression_ratio",
      "Tokens kept ÷ tokens seen of the last compression",
      ["policy"],
    ),
    headBudget: histogram(
      "kvcache:head_budget_tokens",
      "Tokens that a KV head keeps after a compression",
      tokens,
      ["policy"],
    ),
    scoring: histogram(
      "kvcache:scoring_seconds",
      "One compression: score, budget, select, move",
      seconds,
      ["policy"],
    ),
  });
}

export type Metrics = ReturnType<typeof createMetrics>;
