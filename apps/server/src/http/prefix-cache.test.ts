import { afterAll, beforeAll, expect, it } from "vitest";
import { eventsOf, startTestServer, type TestServer } from "./test-server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const document = Array.from({ length: 60 }, (_, i) => `Fact ${i} is about number ${i * 7}.`);
const ask = (question: string, rest: object = {}) => ({
  messages: [{ role: "user", content: `${document.join(" ")} ${question}` }],
  max_tokens: 4,
  ...rest,
});
const chat = (body: object) => server.post("/v1/chat/completions", body);

it("cached tokens are the same number in whole answers and in every chunk of a stream", async () => {
  const first = await chat(ask("What?"));
  expect(first.body.usage.prompt_tokens_details.cached_tokens).toBe(0);
  const second = await chat(ask("Why?"));
  const cached = second.body.usage.prompt_tokens_details.cached_tokens;
  expect(cached).toBeGreaterThan(300);
  expect(cached % 16).toBe(0);

  const stream_options = { include_usage: true, continuous_usage_stats: true };
  const { text } = await chat(ask("Why?", { stream: true, stream_options }));
  const usages = eventsOf(text)
    .filter((event) => event !== "[DONE]")
    .map(({ usage }) => usage)
    .slice(1);
  const all = second.body.usage.prompt_tokens;
  expect(usages.length).toBeGreaterThan(1);
  for (const usage of usages) {
    // The same question again: all but its last block comes from the cache.
    expect(usage.prompt_tokens_details.cached_tokens).toBeGreaterThanOrEqual(cached);
    expect(usage.prompt_tokens).toBe(all);
    expect(usage.total_tokens).toBe(all + usage.completion_tokens);
  }
  expect(new Set(usages.map((usage) => usage.prompt_tokens_details.cached_tokens)).size).toBe(1);
  expect(usages.at(-1).completion_tokens).toBe(4);
});

it("another salt finds nothing, the same salt does", async () => {
  const cachedWith = async (cache_salt: string) =>
    (await chat(ask("Who?", { cache_salt }))).body.usage.prompt_tokens_details.cached_tokens;
  expect(await cachedWith("a")).toBe(0);
  expect(await cachedWith("b")).toBe(0);
  expect(await cachedWith("a")).toBeGreaterThan(300);
});

it("a marked prefix is pinned; other marks are refused", async () => {
  const pinned = () => server.run.cache.stats().pinnedBytes;
  expect(pinned()).toBe(0);
  const marked = { type: "text", text: document.join(" "), cache_control: { type: "ephemeral" } };
  const messages = [
    { role: "user", content: [marked] },
    { role: "assistant", content: "I see." },
    { role: "user", content: "What?" },
  ];
  const { status } = await chat({ messages, max_tokens: 2 });
  expect(status).toBe(200);
  const ofPart = pinned();
  expect(ofPart).toBeGreaterThan(0);
  await chat({ messages, max_tokens: 2, cache_control: { type: "ephemeral", ttl: "1h" } });
  // The mark of the message says where it ends, whatever the request says.
  expect(pinned()).toBe(ofPart);
  const refused = await chat(ask("Where?", { cache_control: { type: "forever" } }));
  expect(refused.status).toBe(400);
  expect(refused.body.error.param).toBe("cache_control.type");
});
