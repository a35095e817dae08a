import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestServer, type TestServer } from "../test-server.ts";
import { cellOwner, type Frame, type Hello, type KeptTokens } from "./frame.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ kvMemory: 2 ** 25 });
});
afterAll(() => server.close());

const prompt = "The quick brown fox jumps over the lazy dog. ".repeat(12);
const kv = { policy: "snap-kv(window=16)", budget: { ratio: 0.25 } };

/** Hello and the first frames that `enough` asks for. */
async function watch(enough: (frame: Frame) => boolean): Promise<[Hello, Frame]> {
  const response = await fetch(`${server.url}/inspector/events`);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let hello: Hello | undefined;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("The events ended.");
    text += value;
    const messages = text.split("\n\n");
    text = messages.pop()!;
    for (const message of messages) {
      const data = JSON.parse(/^data: (.*)$/m.exec(message)![1]!);
      if (message.startsWith("event: hello")) hello = data;
      else if (enough(data)) {
        await reader.cancel();
        return [hello!, data];
      }
    }
  }
}

const keptBits = ({ rows, positions }: KeptTokens) => {
  const bits = Buffer.from(rows!, "base64");
  const rowBytes = Math.ceil(positions / 8);
  return Array.from({ length: bits.length / rowBytes }, (_, row) =>
    Array.from({ length: positions }, (_, p) => p).filter(
      (p) => (bits[row * rowBytes + (p >> 3)]! >> (p & 7)) & 1,
    ),
  );
};

it("is one page that loads nothing from elsewhere", async () => {
  const { status, text, headers } = await server.get("/inspector");
  expect(status).toBe(200);
  expect(headers.get("content-security-policy")).toContain("default-src 'none'");
  expect(text).not.toMatch(/<link rel="stylesheet"|<script[^>]+src=|@import|url\((?!data:)/);
  expect(text.length).toBeLessThan(150_000);
});

describe("while requests run", () => {
  it("tells who holds which blocks, and every request", async () => {
    const asked = server.post("/v1/completions", { prompt, max_tokens: 150, ignore_eos: true, kv });
    const [hello, frame] = await watch(
      ({ requests }) => requests[0]?.state === "running" && requests[0].compressions > 0,
    );
    const { cache } = server.run;
    expect(hello).toMatchObject({
      model: "tiny",
      models: ["tiny"],
      numLayers: 8,
      numKvHeads: 3,
      showsText: false,
    });
    expect(hello.capacityBytes).toBe(cache.stats().capacityBytes);
    expect(frame).toMatchObject({ running: 1, waiting: 0 });
    const [row] = frame.requests;
    expect(row).toMatchObject({ policy: "snap-kv", choices: 1, compressions: 1 });
    expect(row!.headTokens).toHaveLength(24);
    expect(row!.headTokens!.every((kept) => kept === Math.trunc(row!.promptTokens / 4))).toBe(true);
    const cells = Buffer.from(frame.cells, "base64");
    const own = cells.filter(
      (owner) => owner === cellOwner.firstRequest + frame.owners.indexOf(row!.id),
    );
    expect(hello.blocksPerCell).toBe(1);
    expect(own.length).toBe(frame.heldBlocks);
    expect(cells.filter((owner) => owner === cellOwner.prefix).length).toBe(
      frame.reclaimableBlocks,
    );
    expect(frame.sample.heldBytes).toBeLessThanOrEqual(frame.sample.residentBytes);
    expect((await asked).status).toBe(200);
  });

  it("forks of one request are one row, an abort is seen", async () => {
    const left = new AbortController();
    const asked = fetch(`${server.url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ prompt, n: 3, max_tokens: 2000, ignore_eos: true }),
      signal: left.signal,
    }).catch(() => {});
    await watch(({ requests }) => requests[0]!.choices === 3 && requests[0]!.generatedTokens > 6);
    left.abort();
    await asked;
    const [, frame] = await watch(({ requests }) => requests[0]!.state !== "running");
    expect(frame.requests[0]).toMatchObject({ state: "aborted", kept: 1, headTokens: null });
    expect([frame.owners, frame.heldBlocks]).toEqual([[], 0]);
  });
});

describe("kept tokens", () => {
  it("are those of the cache, and remembered when the request has ended", async () => {
    const { body } = await server.post("/v1/completions", {
      prompt,
      max_tokens: 9,
      ignore_eos: true,
      kv,
    });
    const [, { requests }] = await watch(() => true);
    const { body: kept } = await server.get(`/inspector/requests/${requests[0]!.id}`);
    const { prompt_tokens: promptTokens, kv: usage } = body.usage;
    expect(kept).toMatchObject({
      promptTokens,
      known: true,
      texts: null,
      numLayers: 8,
      numKvHeads: 3,
    });
    expect(kept.positions).toBe(usage.tokens_seen);
    const rows = keptBits(kept);
    expect(rows).toHaveLength(24);
    for (const row of rows) {
      expect(row).toHaveLength(usage.tokens_kept);
      // The observation window and all that came after the compression.
      for (let p = promptTokens - 16; p < kept.positions; p++) expect(row).toContain(p);
    }
  });

  it("of a full cache are all; of an unknown request there are none", async () => {
    await server.post("/v1/completions", { prompt, max_tokens: 2 });
    const [, { requests }] = await watch(() => true);
    const { body } = await server.get(`/inspector/requests/${requests[0]!.id}`);
    expect(body).toMatchObject({ rows: null, known: true });
    expect((await server.get("/inspector/requests/9999")).status).toBe(404);
    expect((await server.get("/inspector/requests/x")).status).toBe(400);
  });
});

it("shows texts only where the server was told to, and the page asks for a key", async () => {
  const open = await startTestServer({ showText: true, apiKeys: ["secret"] });
  const authorization = { authorization: "Bearer secret" };
  await open.post(
    "/v1/completions",
    { prompt: "Hello world", max_tokens: 3, ignore_eos: true },
    authorization,
  );
  expect((await open.get("/inspector")).status).toBe(200);
  expect((await open.get("/inspector/events")).status).toBe(401);
  expect((await open.get("/inspector/requests/0")).status).toBe(401);
  const response = await fetch(`${open.url}/inspector/requests/0`, { headers: authorization });
  const { texts, promptTokens } = (await response.json()) as KeptTokens;
  expect(texts!.slice(0, promptTokens).join("")).toContain("Hello world");
  expect(texts).toHaveLength(promptTokens + 3);
  await open.close();
});

it("a server without it has no such page", async () => {
  const closed = await startTestServer({ inspector: false });
  expect((await closed.get("/inspector")).status).toBe(404);
  expect((await closed.get("/inspector/events")).status).toBe(404);
  await closed.close();
});

it("watching does not keep a server from closing", async () => {
  const watched = await startTestServer();
  const { body } = await fetch(`${watched.url}/inspector/events`);
  await Promise.all([watched.close(), body!.pipeTo(new WritableStream())]);
});
