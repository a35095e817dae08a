import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { eventsOf, startTestServer, type TestServer } from "./test-server.ts";

let server: TestServer;
beforeAll(async () => {
  // Room for a hundred tokens or so of one sequence.
  server = await startTestServer({ kvMemory: 2 ** 18, maxSequences: 4 });
});
afterAll(() => server.close());

const message = (content: string) => [{ role: "user", content }];
const asking = {
  "/v1/chat/completions": (text: string) => ({ messages: message(text) }),
  "/v1/completions": (text: string) => ({ prompt: text }),
  "/v1/responses": (text: string) => ({ input: text }),
};
const fields = {
  "/v1/chat/completions": "messages",
  "/v1/completions": "prompt",
  "/v1/responses": "input",
};
type Path = keyof typeof asking;
const paths = Object.keys(asking) as Path[];

describe.each(paths)("%s", (path) => {
  const length = path === "/v1/responses" ? "max_output_tokens" : "max_tokens";

  it("names the field of a prompt that is too long", async () => {
    const { status, body } = await server.post(path, asking[path]("word ".repeat(40_000)));
    expect([status, body.error.code]).toEqual([400, "context_length_exceeded"]);
    expect(body.error.param).toBe(fields[path]);
  });

  it.each([false, true])(
    "says so when the cache can never hold it (stream: %s)",
    async (stream) => {
      const { status, text, body } = await server.post(path, {
        ...asking[path]("Once upon a time"),
        [length]: 4000,
        ignore_eos: true,
        stream,
      });
      const error = stream ? eventsOf(text).at(-1).error : body.error;
      expect(error).toMatchObject({ code: "cache_size_exceeded", param: fields[path] });
      expect(status).toBe(stream ? 200 : 400);
    },
  );
});

it("one bad prompt among several stops those that run already", async () => {
  const prompt = [[5, 6, 7], [8, 9, 10], [2 ** 30]];
  for (const stream of [false, true]) {
    const body = { prompt, max_tokens: 40, ignore_eos: true, stream };
    const { status, body: answer } = await server.post("/v1/completions", body);
    expect([status, answer.error.code]).toEqual([400, "invalid_value"]);
    const { stats } = server.run.engine;
    await vi.waitFor(() => expect(stats().running + stats().waiting).toBe(0), 30_000);
    expect(stats().finished).toMatchObject({ length: 0, abort: stream ? 4 : 2 });
  }
});
