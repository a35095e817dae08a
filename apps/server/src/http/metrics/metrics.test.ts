import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasServices, programs } from "../../test-services.ts";
import { startTestServer, type TestServer } from "../test-server.ts";
import { watchBlocks } from "./block-times.ts";
import { createMetrics } from "./metrics.ts";
import { type Family, parseExposition } from "./test-exposition.ts";

const seconds = (...names: string[]) => names.map((name) => `vllm:${name}_seconds`);
const expected: Readonly<Record<Family["type"], readonly string[]>> = {
  gauge: [
    "vllm:num_requests_waiting",
    "vllm:num_requests_running",
    "vllm:kv_cache_usage_perc",
    "vllm:cache_config_info",
    "kvcache:tokens_resident",
    "kvcache:bytes_resident",
    "kvcache:compression_ratio",
    "kvcache:prefix_bytes",
    "kvcache:prefix_pinned_bytes",
    "kvcache:prefix_max_bytes",
    "kvcache:swap_bytes",
    "kvcache:swap_max_bytes",
    "kvcache:snapshot_files",
    "kvcache:snapshot_bytes",
    "kvcache:snapshot_max_bytes",
    "kvcache:store_up",
    "kvcache:store_queue_bytes",
  ],
  counter: [
    "vllm:prefix_cache_queries_total",
    "vllm:prefix_cache_hits_total",
    "vllm:num_preemptions_total",
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
    "vllm:request_success_total",
    "kvcache:tokens_evicted_total",
    "vllm:external_prefix_cache_queries_total",
    "vllm:external_prefix_cache_hits_total",
    "kvcache:store_bytes_total",
    "kvcache:store_failures_total",
    "kvcache:store_dropped_total",
    "kvcache:kv_events_total",
  ],
  histogram: [
    ...seconds("time_to_first_token", "inter_token_latency", "e2e_request_latency"),
    ...seconds("request_queue_time", "request_prefill_time", "request_decode_time"),
    ...seconds("kv_block_lifetime", "kv_block_idle_before_evict", "kv_block_reuse_gap"),
    "vllm:request_prompt_tokens",
    "vllm:request_generation_tokens",
    "vllm:iteration_tokens_total",
    "kvcache:head_budget_tokens",
    "kvcache:scoring_seconds",
    "kvcache:store_seconds",
  ],
};

describe("/metrics", () => {
  let server: TestServer;
  beforeAll(async () => {
    // Room for one and a half prompts: blocks of the prefix cache are given back.
    server = await startTestServer({ kvMemory: 6 * 2 ** 20 });
    const kv = { policy: "snap-kv(window=16)", budget: { ratio: 0.25 } };
    for (const [i, question] of [0, 0, 1, 2, 0, 0, 1, 2].entries()) {
      const prompt = `${question} ${"The quick brown fox jumps over the lazy dog. ".repeat(20)}`;
      const { status } = await server.post("/v1/completions", {
        prompt,
        max_tokens: 3,
        kv: i % 2 ? kv : null,
      });
      expect(status).toBe(200);
    }
  });
  afterAll(() => server.close());

  it("is text that a strict reader takes, with every name that routers and dashboards know", async () => {
    const { text, headers } = await server.get("/metrics");
    expect(headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    const families = parseExposition(text);
    for (const type of ["gauge", "counter", "histogram"] as const) {
      const names = families.filter((family) => family.type === type).map(({ name }) => name);
      expect(names).toEqual(expect.arrayContaining([...expected[type]]));
    }
    for (const { samples } of families)
      for (const { labels } of samples)
        expect(labels).toMatchObject({ model_name: "tiny", engine: "0" });
  });

  it.runIf(hasServices("promtool"))(
    "promtool finds nothing but names that vLLM chose",
    async () => {
      const { text } = await server.get("/metrics");
      // Colons are for recording rules by convention, and in the names that routers look for.
      const input = text.replace(/\b(vllm|kvcache):/g, "$1_");
      const { stdout, stderr } = spawnSync(programs.promtool!, ["check", "metrics"], {
        input,
        encoding: "utf8",
      });
      expect((stdout + stderr).trim().split("\n")).toEqual([
        'vllm_iteration_tokens_total non-counter metrics should not have "_total" suffix',
      ]);
    },
  );

  it("tells the truth about the pool and its blocks", async () => {
    const families = parseExposition((await server.get("/metrics")).text);
    const value = (name: string) =>
      families.flatMap(({ samples }) => samples).find((sample) => sample.name === name)!.value;
    const { cache } = server.run;
    const stats = cache.stats();
    expect(value("kvcache:bytes_resident")).toBe(stats.residentBytes);
    expect(value("kvcache:tokens_resident")).toBe(stats.residentTokens);
    expect(value("kvcache:prefix_bytes")).toBe(stats.prefixBytes);
    expect(stats.prefixBytes).toBeGreaterThan(0);
    expect(value("kvcache:prefix_max_bytes")).toBe(stats.capacityBytes);
    expect(value("kvcache:swap_max_bytes")).toBe(2 ** 30);
    const uses = cache.blockUses!(0);
    const held = uses.filter((use) => use === 1 || use === 2).length;
    expect(value("vllm:kv_cache_usage_perc")).toBe(held / uses.length);
    const config = families.find(({ name }) => name === "vllm:cache_config_info")!;
    expect(config.samples[0]!.labels).toMatchObject({
      block_size: "16",
      num_gpu_blocks: String(stats.arenas[0]!.totalBlocks),
    });
    for (const what of ["lifetime", "idle_before_evict", "reuse_gap"])
      expect(value(`vllm:kv_block_${what}_seconds_count`)).toBeGreaterThan(0);
    const watched = value("vllm:kv_block_lifetime_seconds_count");
    expect(value("vllm:kv_block_idle_before_evict_seconds_count")).toBeLessThanOrEqual(watched);
  });
});

it("times of blocks are those of the watched ones", async () => {
  const metrics = createMetrics();
  let now = 0;
  const watcher = watchBlocks(metrics, { model_name: "m", engine: "0" }, () => now);
  const at = (time: number, what: "taken" | "rested" | "reused" | "freed", block: number) => {
    now = time;
    watcher[what](block);
  };
  at(1, "taken", 0);
  at(1, "taken", 5);
  at(3, "rested", 0);
  at(7, "reused", 0);
  at(8, "rested", 0);
  at(20, "freed", 0);
  at(21, "freed", 5);
  at(30, "taken", 16);
  at(31, "freed", 16);
  const families = parseExposition(await metrics.text());
  const of = (name: string) => {
    const { samples } = families.find((family) => family.name === `vllm:kv_block_${name}_seconds`)!;
    const value = (end: string) => samples.find((sample) => sample.name.endsWith(end))!.value;
    return [value("_count"), value("_sum")];
  };
  expect(of("reuse_gap")).toEqual([1, 4]);
  expect(of("idle_before_evict")).toEqual([1, 12]);
  expect(of("lifetime")).toEqual([2, 19 + 1]);
});

it.each([
  "# TYPE a gauge\na 1\n",
  "# HELP a x\n# TYPE a gauge\na 1",
  "# HELP a x\n# TYPE a gauge\na 1\na 2\n",
  "# HELP a x\n# TYPE a counter\na 1\n",
  '# HELP a x\n# TYPE a gauge\na{b="c} 1\n',
  '# HELP a x\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n',
  '# HELP a x\n# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n',
])("the reader is strict: %j", (text) => expect(() => parseExposition(text)).toThrow());
