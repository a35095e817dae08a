import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { EngineStats } from "@kvcache/engine";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelsOf } from "./models-file.ts";
import { checkExposure, createKeyCheck, readKeys } from "./security.ts";
import { eventsOf, startTestServer, type TestServer } from "./test-server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({
    maxSequences: 1,
    maxQueue: 1,
    corsOrigins: ["https://app.test"],
  });
});
afterAll(() => server.close());

const long = {
  prompt: "The quick brown fox jumps over the lazy dog. ".repeat(20),
  max_tokens: 40,
  ignore_eos: true,
};

/** Samples of the metrics' text: name with labels → value. */
async function samples(): Promise<Map<string, number>> {
  const { text } = await server.get("/metrics");
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(" ");
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

async function until(reached: (stats: EngineStats) => boolean): Promise<void> {
  while (!reached(server.run.engine.stats())) await sleep(1);
}

describe("metrics", () => {
  const own = 'model_name="tiny",engine="0"';

  it("tell what the engine and the pool hold", async () => {
    const kv = { policy: "snap-kv(window=16)", budget: { ratio: 0.25 } };
    const { body } = await server.post("/v1/completions", { ...long, kv });
    const found = await samples();
    const { cache, promptTokens, generatedTokens, evictedEntries } = server.run.engine.stats();
    expect(found.get(`kvcache:bytes_resident{${own}}`)).toBe(cache.residentBytes);
    expect(cache.residentBytes).toBeGreaterThan(0);
    expect(found.get(`vllm:kv_cache_usage_perc{${own}}`)).toBe(0);
    expect(found.get(`vllm:prompt_tokens_total{${own}}`)).toBe(promptTokens);
    expect(found.get(`vllm:generation_tokens_total{${own}}`)).toBe(generatedTokens);
    expect(found.get(`vllm:request_success_total{${own},finished_reason="length"}`)).toBe(1);
    const evicted = [...found].filter(([name]) => name.startsWith("kvcache:tokens_evicted_total"));
    expect(evicted).toHaveLength(4);
    expect(evicted.reduce((sum, [, value]) => sum + value, 0)).toBe(evictedEntries);
    const ratio = found.get(`kvcache:compression_ratio{${own},policy="snap-kv"}`)!;
    expect(ratio * body.usage.prompt_tokens).toBeCloseTo(
      Math.trunc(body.usage.prompt_tokens / 4),
      5,
    );
    expect(found.get(`kvcache:head_budget_tokens_count{${own},policy="snap-kv"}`)).toBe(24);
    expect(found.get(`vllm:inter_token_latency_seconds_count{${own}}`)).toBe(39);
    expect(found.get(`vllm:time_to_first_token_seconds_count{${own}}`)).toBe(1);
    expect(found.get(`vllm:iteration_tokens_total_sum{${own}}`)).toBe(promptTokens + 39);
  });

  it("have the names that dashboards and routers know, each with help and type", async () => {
    const { text, headers } = await server.get("/metrics");
    expect(headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
    const latencies = ["time_to_first_token", "inter_token_latency", "e2e_request_latency"];
    const times = ["request_queue_time", "request_prefill_time", "request_decode_time"];
    const names = [
      ...["num_requests_waiting", "num_requests_running", "kv_cache_usage_perc"],
      ...["cache_config_info", "num_preemptions_total", "request_success_total"],
      ...["prefix_cache_queries_total", "prefix_cache_hits_total"],
      ...["prompt_tokens_total", "generation_tokens_total", "iteration_tokens_total"],
      ...[...latencies, ...times].map((name) => `${name}_seconds`),
      ...["request_prompt_tokens", "request_generation_tokens"],
    ].map((name) => `vllm:${name}`);
    const ours = ["tokens_evicted_total", "tokens_resident", "bytes_resident", "compression_ratio"];
    const more = ["head_budget_tokens", "scoring_seconds"];
    for (const name of [...names, ...[...ours, ...more].map((one) => `kvcache:${one}`)]) {
      expect(text).toContain(`# HELP ${name} `);
      expect(text).toMatch(new RegExp(`# TYPE ${name} (gauge|counter|histogram)`));
    }
  });

  it("count tokens and blocks while a request runs", async () => {
    const response = await fetch(`${server.url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...long, max_tokens: 3000, stream: true }),
    });
    const reader = response.body!.getReader();
    await reader.read();
    const found = await samples();
    expect(found.get(`vllm:num_requests_running{${own}}`)).toBe(1);
    expect(found.get(`kvcache:tokens_resident{${own}}`)).toBeGreaterThan(200);
    expect(found.get(`vllm:kv_cache_usage_perc{${own}}`)).toBeGreaterThan(0);
    await reader.cancel();
  });
});

it("more requests than may wait are sent away", async () => {
  const stream = { ...long, max_tokens: 2000, stream: true };
  await until(({ running, waiting }) => running + waiting === 0);
  const controllers = [0, 1].map(() => new AbortController());
  for (const [before, { signal }] of controllers.entries()) {
    await until(({ running }) => running === before);
    await fetch(`${server.url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(stream),
      signal,
    });
  }
  await until(({ waiting }) => waiting === 1);
  const refused = await server.post("/v1/completions", long);
  expect([refused.status, refused.body.error.code]).toEqual([429, "queue_full"]);
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
  for (const controller of controllers) controller.abort();
});

it("request ids come back, bad ones are replaced", async () => {
  const idOf = async (id: string) =>
    (await server.post("/tokenize", { prompt: "x" }, { "x-request-id": id })).headers.get(
      "x-request-id",
    );
  expect(await idOf("my-id.7")).toBe("my-id.7");
  expect(await idOf("bad id")).toMatch(/^[\da-f-]{36}$/);
});

it("pages of other origins may not ask", async () => {
  const allowed = async (origin: string) => {
    const { headers } = await fetch(`${server.url}/v1/models`, { headers: { origin } });
    return headers.get("access-control-allow-origin");
  };
  expect(await allowed("https://app.test")).toBe("https://app.test");
  expect(await allowed("https://evil.test")).toBeNull();
  const { headers } = await fetch(`${server.url}/v1/kv/snapshots/snap_0`, {
    method: "OPTIONS",
    headers: { origin: "https://app.test", "access-control-request-method": "DELETE" },
  });
  expect(headers.get("access-control-allow-methods")).toContain("DELETE");
});

describe("keys", () => {
  const check = (keys: string[], authorization?: string, url = "/v1/models") =>
    createKeyCheck(keys)({ headers: { authorization }, routeOptions: { url } } as Parameters<
      ReturnType<typeof createKeyCheck>
    >[0]);

  it("are asked for, except by probes", () => {
    check([]);
    check(["a", "b"], "Bearer b");
    check(["a"], undefined, "/health");
    expect(() => check(["a"])).toThrow(/missing/);
    expect(() => check(["a"], "Bearer ab")).toThrow(/not valid/);
    expect(() => check(["a"], "Basic a")).toThrow(/missing/);
  });

  it("come from options and files; other machines need one", async () => {
    const folder = await mkdtemp(join(tmpdir(), "kvcache-keys-"));
    const file = join(folder, "keys");
    await writeFile(file, "one\n\n two \n");
    expect(readKeys(["zero"], file)).toEqual(["zero", "one", "two"]);
    await writeFile(file, "\n");
    expect(() => readKeys([], file)).toThrow(/holds no key/);
    await rm(folder, { recursive: true });
    checkExposure("127.0.0.1", 0, false);
    checkExposure("0.0.0.0", 1, false);
    checkExposure("::", 0, true);
    expect(() => checkExposure("0.0.0.0", 0, false)).toThrow(/--api-key/);
  });
});

describe("models of a config", () => {
  const options = {
    model: "tiny",
    backend: "auto" as const,
    dtype: "f32" as const,
    kvDtype: "f32" as const,
    blockSize: 16,
    policy: "full",
    maxNumSeqs: 8,
  };

  it("take what they leave out from the command line", () => {
    expect(modelsOf(options)).toMatchObject([{ name: "kvcache-tiny", model: "tiny" }]);
    const config =
      '{"models":[{"name":"a","model":"./a","dtype":"int8"},{"name":"b","model":"b"}]}';
    expect(modelsOf({ ...options, config })).toMatchObject([
      { name: "a", model: "./a", dtype: "int8", policy: "full" },
      { name: "b", model: "b", dtype: "f32" },
    ]);
  });

  it.each([
    '{"models":[]}',
    '{"models":[{"name":"a"}]}',
    '{"models":[{"name":"a","model":"b","x":1}]}',
  ])("refuse %s", (config) => expect(() => modelsOf({ ...options, config })).toThrow(/--config/));
});

it("draining lets nobody in, waits for those inside, and aborts them when it takes too long", async () => {
  await until(({ running, waiting }) => running + waiting === 0);
  const running = server.post("/v1/completions", { ...long, max_tokens: 30 });
  await until(({ running }) => running === 1);
  const endless = server.post("/v1/completions", { ...long, max_tokens: 8000, stream: true });
  await until(({ waiting }) => waiting === 1);
  const drained = server.fleet.drain(1500);
  const refused = await server.post("/v1/completions", long);
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
  expect((await server.get("/health")).status).toBe(503);
  expect((await running).body.choices[0].finish_reason).toBe("length");
  expect(await drained).toBe(1);
  const last = eventsOf((await endless).text).at(-1);
  expect(last.error).toMatchObject({ type: "server_error", code: "unavailable" });
});
