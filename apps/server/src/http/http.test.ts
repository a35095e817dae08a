import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chatCompletion } from "./schemas/chat.ts";
import { completion } from "./schemas/completion.ts";
import { responsesResponse } from "./schemas/responses.ts";
import { eventsOf, startTestServer, type TestServer } from "./test-server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const messages = [{ role: "user", content: "Once upon a time there was a king who" }];
const chat = (fields: object) =>
  server.post("/v1/chat/completions", { messages, max_tokens: 6, ...fields });
const complete = (fields: object) =>
  server.post("/v1/completions", {
    prompt: "The pass key is 4711. The pass key is",
    max_tokens: 4,
    ...fields,
  });

describe("chat", () => {
  it("answers in the documented shape, with usage of tokens and cache", async () => {
    const { status, body, headers } = await chat({});
    expect(status).toBe(200);
    expect(chatCompletion.parse(body)).toEqual(body);
    expect(body.usage).toMatchObject({ completion_tokens: 6, kv: { policy: "full" } });
    expect(body.usage.kv.tokens_seen).toBe(body.usage.prompt_tokens + 5);
    expect(headers.get("x-request-id")).toBeTruthy();
  });

  it("streams what it answers at once", async () => {
    const whole = await chat({ n: 2, temperature: 0.8, seed: 3 });
    const { text, headers } = await chat({
      n: 2,
      temperature: 0.8,
      seed: 3,
      stream: true,
      stream_options: { include_usage: true },
    });
    expect(headers.get("content-type")).toMatch(/^text\/event-stream/);
    const events = eventsOf(text);
    expect(events.at(-1)).toBe("[DONE]");
    const usage = events.at(-2);
    expect(usage.choices).toEqual([]);
    expect(usage.usage).toMatchObject({
      completion_tokens: 12,
      total_tokens: whole.body.usage.total_tokens,
    });
    const chunks = events.slice(0, -2);
    expect(chunks[0].choices[0].delta).toEqual({ role: "assistant", content: "" });
    for (const { index, message, finish_reason } of whole.body.choices) {
      const own = chunks.flatMap(({ choices }) => choices).filter((c) => c.index === index);
      expect(own.map(({ delta }) => delta.content ?? "").join("")).toBe(message.content);
      expect(own.at(-1).finish_reason).toBe(finish_reason);
    }
  });

  it("reports logprobs with tokens that spell the text", async () => {
    const { body } = await chat({ logprobs: true, top_logprobs: 2 });
    const [{ message, logprobs }] = body.choices;
    expect(logprobs.content).toHaveLength(6);
    const bytes = logprobs.content.flatMap((one: { bytes: number[] }) => one.bytes);
    expect(new TextDecoder().decode(Uint8Array.from(bytes))).toContain(message.content);
    for (const { logprob, top_logprobs } of logprobs.content)
      expect(top_logprobs[0].logprob).toBe(logprob);
  });

  it.each([
    [{ type: "json_object" }, {}],
    [
      {
        type: "json_schema",
        json_schema: {
          name: "answer",
          schema: {
            type: "object",
            properties: {
              age: { type: "integer", minimum: 1, maximum: 9 },
              ok: { type: "boolean" },
            },
            required: ["age", "ok"],
          },
        },
      },
      { age: expect.any(Number), ok: expect.any(Boolean) },
    ],
  ])("writes %j", async (response_format, expected) => {
    const { body } = await chat({ response_format, max_tokens: 400 });
    const [{ message, finish_reason }] = body.choices;
    if (finish_reason === "length") return expect(response_format.type).toBe("json_object");
    expect(JSON.parse(message.content)).toMatchObject(expected);
  });

  it("bans, biases, stops and goes on as it is told", async () => {
    const plain = await complete({ logprobs: 0 });
    const first = await server.post("/tokenize", { prompt: plain.body.choices[0].text });
    const [token] = first.body.tokens;
    const banned = await complete({ logit_bias: { [token]: -100 } });
    expect(banned.body.choices[0].text).not.toBe(plain.body.choices[0].text);
    const stop = plain.body.choices[0].text.slice(1, 3);
    const stopped = await complete({ stop });
    expect(stopped.body.choices[0]).toMatchObject({
      text: plain.body.choices[0].text.slice(0, 1),
      finish_reason: "stop",
      stop_reason: stop,
    });
    const late = await complete({ stop, min_tokens: 3, max_tokens: 3 });
    expect(late.body.usage.completion_tokens).toBe(3);
    const eos = await complete({ ignore_eos: true, max_tokens: 80 });
    expect(eos.body.usage.completion_tokens).toBe(80);
  });
});

describe("completions", () => {
  it("score a prompt: echo, logprobs, no answer", async () => {
    const { body } = await complete({ echo: true, logprobs: 1, max_tokens: 0 });
    expect(completion.parse(body)).toEqual(body);
    const [{ text, logprobs }] = body.choices;
    expect(text).toBe("The pass key is 4711. The pass key is");
    expect(logprobs.tokens.join("")).toBe(text);
    expect(logprobs.token_logprobs[0]).toBeNull();
    expect(logprobs.token_logprobs.slice(1).every((x: number) => x <= 0)).toBe(true);
    expect(body.usage.completion_tokens).toBe(0);
    // The repetition is certain, its first occurrence is not.
    expect(logprobs.token_logprobs.at(-1)).toBeGreaterThan(logprobs.token_logprobs[1]);
  });

  it("score a prompt in vLLM's form", async () => {
    const { body } = await complete({ prompt_logprobs: 0 });
    const [first, second] = body.choices[0].prompt_logprobs;
    expect(first).toBeNull();
    const [[, entry]] = Object.entries(second) as [string, { rank: number; logprob: number }][];
    expect(entry).toMatchObject({ rank: expect.any(Number), decoded_token: expect.any(String) });
  });

  it("take several prompts, as text or ids, and stream them", async () => {
    const { body: ids } = await server.post("/tokenize", { prompt: "The king" });
    const fields = { prompt: [ids.tokens, ids.tokens], n: 2, echo: true };
    const { body } = await complete(fields);
    expect(body.choices.map((c: { index: number }) => c.index)).toEqual([0, 1, 2, 3]);
    const { text } = await complete({ ...fields, stream: true });
    const streamed = ["", "", "", ""];
    for (const event of eventsOf(text).slice(0, -1))
      for (const { index, text } of event.choices) streamed[index] += text;
    expect(streamed).toEqual(body.choices.map((c: { text: string }) => c.text));
    expect(streamed[0]).toMatch(/^The king/);
  });
});

describe("the kv object", () => {
  const long = { prompt: "The quick brown fox jumps over the lazy dog. ".repeat(30) };

  it("compresses, and tells what is left", async () => {
    const kv = { policy: "snap-kv", budget: { ratio: 0.25 }, window: 16 };
    const full = (await complete(long)).body.usage;
    const { usage } = (await complete({ ...long, kv })).body;
    expect(usage.kv).toMatchObject({ policy: "snap-kv", compressions: 1 });
    expect(usage.kv.tokens_kept).toBeLessThan(0.27 * usage.prompt_tokens + 4);
    expect(usage.kv.bytes_now).toBeLessThan(0.5 * full.kv.bytes_now);
    expect(usage.kv.bytes_peak).toBeGreaterThan(usage.kv.bytes_now);
    const alias = (
      await complete({ ...long, kv: { policy: "snap-kv(window=16)" }, max_cache_tokens: 64 })
    ).body;
    expect(alias.usage.kv.tokens_kept).toBeLessThan(70);
  });

  it("hides what comes after a message", async () => {
    const asked = [
      { role: "user", content: long.prompt },
      { role: "user", content: "What does the fox do?" },
    ];
    const kv = { policy: "snap-kv", budget: { tokens: 100 }, compressAfter: 0 };
    const { body } = await chat({ messages: asked, kv });
    const { tokens_kept, tokens_seen } = body.usage.kv;
    expect(tokens_kept).toBeGreaterThan(100);
    expect(tokens_seen).toBeGreaterThan(300);
  });

  it.each([
    [{ policy: "snap-kw" }, /snap-kv/],
    [{ policy: "snap-kv" }, /needs a budget/],
    [{ policy: "full", budget: { ratio: 0.5 } }, /full cache takes no/],
    [{ budget: { ratio: 0.5 } }, /full cache takes no/],
    [{ policy: "streaming-llm@0.5", window: 4 }, /observes no window/],
    [{ policy: "snap-kv", budget: { ratio: 2 } }, /kv\.budget/],
    [{ policy: "snap-kv@0.5", protect: { recent: 3 } }, /protects its last/],
    [{ policy: "snap-kv@0.5", windw: 3 }, /windw/],
    [{ compressAfter: 3 }, /compressAfter/],
  ])("refuses %j", async (kv, message) => {
    const { status, body } = await complete({ kv });
    expect(status).toBe(400);
    expect(body.error.message).toMatch(message);
    expect(body.error.type).toBe("invalid_request_error");
  });
});

describe("errors", () => {
  it.each([
    ["/v1/chat/completions", { messages: [] }, 400, "messages"],
    ["/v1/chat/completions", { messages, temperature: "hot" }, 400, "temperature"],
    ["/v1/chat/completions", { messages, audio: {} }, 400, "audio"],
    [
      "/v1/chat/completions",
      { messages, tools: [{ type: "function", function: { name: "f" } }] },
      400,
      "tools",
    ],
    ["/v1/chat/completions", { messages, n: 1000 }, 400, "n"],
    ["/v1/chat/completions", { messages, logit_bias: { 99999: 1 } }, 400, null],
    [
      "/v1/chat/completions",
      {
        messages,
        response_format: { type: "json_schema", json_schema: { schema: { pattern: "x" } } },
      },
      400,
      "response_format",
    ],
    ["/v1/chat/completions", { messages, model: "gpt-5" }, 404, "model"],
    ["/v1/completions", { prompt: "x", suffix: "y" }, 400, "suffix"],
    ["/v1/completions", { prompt: "x", guided_json: {} }, 400, "guided_json"],
    ["/v1/responses", { input: "x", previous_response_id: "r" }, 400, "previous_response_id"],
    ["/v1/embeddings", {}, 404, null],
    ["/tokenize", {}, 400, "prompt"],
  ])("%s %j", async (path, body, status, param) => {
    const answer = await server.post(path, body);
    expect([answer.status, answer.body.error.param]).toEqual([status, param]);
    expect(Object.keys(answer.body.error)).toEqual(["message", "type", "param", "code"]);
  });

  it("a prompt beyond the context has its code", async () => {
    const { status, body } = await complete({ max_tokens: 20000 });
    expect([status, body.error.code]).toEqual([400, "context_length_exceeded"]);
  });

  it("bodies that are no JSON, not JSON, or too large", async () => {
    expect((await server.post("/tokenize", "{")).status).toBe(400);
    expect((await server.post("/tokenize", "x", { "content-type": "text/plain" })).status).toBe(
      415,
    );
    expect((await server.post("/tokenize", { prompt: "x".repeat(2 ** 20) })).status).toBe(413);
  });
});

it("a client that leaves gives its blocks back", async () => {
  const { engine } = server.run;
  const controller = new AbortController();
  const response = await fetch(`${server.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt: "Go on", max_tokens: 5000, ignore_eos: true, stream: true }),
    signal: controller.signal,
  });
  await response.body!.getReader().read();
  const { steps } = engine.stats();
  expect(engine.stats().running).toBe(1);
  controller.abort();
  while (engine.stats().running > 0) await sleep(1);
  expect(engine.stats().steps - steps).toBeLessThan(200);
  const { arenas, sequences } = server.run.cache.stats();
  expect(sequences).toBe(0);
  for (const { totalBlocks, freeBlocks, reclaimableBlocks } of arenas)
    expect(freeBlocks + reclaimableBlocks).toBe(totalBlocks);
});

describe("the other routes", () => {
  it("responses, at once and streamed", async () => {
    const request = { input: messages, instructions: "Be brief.", max_output_tokens: 5 };
    const { body } = await server.post("/v1/responses", request);
    expect(responsesResponse.parse(body)).toEqual(body);
    const { text } = await server.post("/v1/responses", { ...request, stream: true });
    const events = eventsOf(text);
    const deltas = events.filter(({ type }) => type === "response.output_text.delta");
    const answer = body.output[0].content[0].text;
    expect(deltas.map(({ delta }) => delta).join("")).toBe(answer);
    expect(events.at(-1).response.output[0].content[0].text).toBe(answer);
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, i) => i));
  });

  it("models, health, version", async () => {
    const { body } = await server.get("/v1/models");
    expect(body.data).toMatchObject([{ id: "tiny", max_model_len: 16384 }]);
    expect((await server.get("/v1/models/tiny")).body).toEqual(body.data[0]);
    expect((await server.get("/v1/models/none")).status).toBe(404);
    expect((await server.get("/health")).text).toBe("");
    expect((await server.get("/version")).body).toEqual({ version: "0.0.0-test" });
  });

  it("tokens there and back", async () => {
    const { body } = await server.post("/tokenize", { prompt: "Grüße!", return_token_strs: true });
    expect(body.count).toBe(body.tokens.length);
    expect((await server.post("/detokenize", { tokens: body.tokens })).body.prompt).toBe("Grüße!");
    const chatted = await server.post("/tokenize", { messages });
    expect((await server.post("/detokenize", { tokens: chatted.body.tokens })).body.prompt).toMatch(
      /^<\|bos\|><\|user\|>Once/,
    );
  });

  it("an OpenAPI document of every route", async () => {
    const { body } = await server.get("/openapi.json");
    expect(body.openapi).toBe("3.1.0");
    expect(Object.keys(body.paths)).toEqual(
      expect.arrayContaining([
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/tokenize",
        "/metrics",
      ]),
    );
    const schema =
      body.paths["/v1/chat/completions"].post.requestBody.content["application/json"].schema;
    expect(schema.properties).toHaveProperty("kv");
    expect(schema.required).toEqual(["messages"]);
  });
});
