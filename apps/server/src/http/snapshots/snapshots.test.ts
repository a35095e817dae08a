import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestServer, type TestServer } from "../test-server.ts";
import { openSnapshotStore } from "./snapshot-store.ts";

let folder: string;
let server: TestServer;
const clock = { time: 1_000_000 };
const openStore = (maxBytes = 2 ** 28, onDamaged?: (file: string) => void) =>
  openSnapshotStore({ folder, maxBytes, maxAge: 3600, now: () => clock.time }, onDamaged);
const start = async () =>
  startTestServer({ plans: ["kv-zip@0.2", "snap-kv@0.5"], snapshots: await openStore() });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "kvcache-snapshots-"));
  server = await start();
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

const facts = ["amber-lantern: 4471902", "silver-harbor: 8150337", "quiet-meadow: 5290317"];
const filler = Array.from({ length: 40 }, (_, i) => `The clock of house ${i} struck ${i % 12}.`);
const document = filler.flatMap((line, i) => {
  const fact = i % 13 === 5 ? facts[(i - 5) / 13] : undefined;
  return fact ? [`The special magic number for ${fact}.`, line] : [line];
});
const story = { role: "user", content: document.join(" ") };
const kv = { policy: "kv-zip", budget: { ratio: 0.2 } };
const question = (name: string) => ({
  role: "user",
  content: `What is the special magic number for ${name}?`,
});
const names = ["amber-lantern", "silver-harbor", "quiet-meadow"];
const path = "/v1/kv/snapshots";
const remove = (id: string) => fetch(`${server.url}${path}/${id}`, { method: "DELETE" });

describe("snapshots over HTTP", () => {
  it("answer questions after a restart from a document that was compressed once", async () => {
    // What it must be: the same document, compressed before each question.
    const expected: string[] = [];
    for (const name of names) {
      const messages = [story, question(name)];
      const body = { messages, max_tokens: 12, kv: { ...kv, compressAfter: 0 } };
      const answer = await server.post("/v1/chat/completions", body);
      expect(answer.status).toBe(200);
      expected.push(answer.body.choices[0].message.content);
    }
    const { status, body: made } = await server.post(path, { messages: [story], kv });
    expect(status).toBe(200);
    expect(made).toMatchObject({ object: "kv.snapshot", model: "tiny", policy: "kv-zip" });
    expect(made.tokens_kept).toBeLessThan(0.25 * made.tokens);

    await server.close();
    server = await start();
    for (const [i, name] of names.entries()) {
      const messages = [story, question(name)];
      const body = { messages, max_tokens: 12, kv: { snapshot: made.id } };
      const answer = await server.post("/v1/chat/completions", body);
      expect(answer.status).toBe(200);
      expect(answer.body.choices[0].message.content).toBe(expected[i]);
      const { usage } = answer.body;
      expect(usage.prompt_tokens_details.cached_tokens).toBe(made.tokens);
      expect(usage.kv).toMatchObject({ policy: "kv-zip", tokens_seen: expect.any(Number) });
    }
    // The document was never read here.
    expect(server.run.engine.stats().cachedPromptTokens).toBe(3 * made.tokens);
    expect((await remove(made.id)).status).toBe(200);
  });

  it("are listed, found and forgotten", async () => {
    const { body: made } = await server.post(path, {
      prompt: "Once upon a time.",
      ttl_seconds: 60,
    });
    expect(made.expires - made.created).toBe(60);
    expect((await server.get(path)).body).toMatchObject({ data: [{ id: made.id }] });
    expect((await server.get(`${path}/${made.id}`)).body.tokens).toBe(made.tokens);
    expect(await (await remove(made.id)).json()).toMatchObject({ id: made.id, deleted: true });
    expect((await server.get(`${path}/${made.id}`)).status).toBe(404);
    expect((await server.get(path)).body).toMatchObject({ data: [], bytes: 0 });
    expect(await readdir(folder)).toEqual([]);
  });

  it("are refused by name where they do not fit a request", async () => {
    const { body: made } = await server.post(path, { messages: [story] });
    const ask = async (body: object) => {
      const messages = [story, question("amber-lantern")];
      const { status, body: answer } = await server.post("/v1/chat/completions", {
        messages,
        max_tokens: 2,
        kv: { snapshot: made.id },
        ...body,
      });
      return [status, answer.error?.message ?? ""];
    };
    expect(await ask({})).toEqual([200, ""]);
    expect(await ask({ messages: [question("x")] })).toMatchObject([
      400,
      expect.stringContaining("holds another prompt"),
    ]);
    expect(await ask({ kv: { ...kv, snapshot: made.id } })).toMatchObject([
      400,
      expect.stringContaining("made with another plan"),
    ]);
    for (const id of ["snap_0", "../../etc/passwd", `snap_${"0".repeat(32)}`])
      expect((await ask({ kv: { snapshot: id } }))[0]).toBe(404);
    expect((await server.get(`${path}/..%2f..%2fetc`)).status).toBe(404);
    expect((await server.post(path, {})).status).toBe(400);
    await remove(made.id);
  });
});

describe("the store", () => {
  const captured = (size: number) => ({
    bytes: new Uint8Array(size).fill(7),
    state: {
      model: "m",
      planFingerprint: "p",
      tokenIds: [1, 2, 3],
      ropeClass: "0",
      position: 3,
      lengths: [3],
    },
  });
  const about = { model: "tiny", request: {}, policy: "full", tokensKept: 3 };

  it("holds no more bytes than it may, those being written included", async () => {
    const store = await openStore(5000);
    const saves = [1, 2, 3, 4].map(() => store.save(captured(1500), about));
    const settled = await Promise.allSettled(saves);
    const saved = settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    expect(saved).toHaveLength(2);
    expect(settled.find(({ status }) => status === "rejected")).toMatchObject({
      reason: { status: 413, code: "snapshots_full" },
    });
    expect(store.bytes).toBe(saved[0]!.bytes + saved[1]!.bytes);
    for (const { id } of saved) await store.remove(id);
    expect(store.bytes).toBe(0);
  });

  it("forgets what is too old, also after a restart", async () => {
    const store = await openStore();
    const { id } = await store.save(captured(10), about, 60);
    await store.save(captured(10), about, 1e9);
    clock.time += 61;
    expect(() => store.info(id)).toThrow("There is no snapshot");
    clock.time += 3600;
    expect((await openStore()).list()).toEqual([]);
    expect(store.list()).toEqual([]);
  });

  it("refuses damaged files, and clears away what a crash left", async () => {
    const store = await openStore();
    const [whole, broken] = [
      await store.save(captured(100), about),
      await store.save(captured(100), about),
    ];
    const file = join(folder, `${broken.id}.kvsnapshot`);
    const bytes = await readFile(file);
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(file, bytes);
    await writeFile(join(folder, `${whole.id}.kvsnapshot.123.tmp`), "half");
    await expect(store.load(broken.id)).rejects.toMatchObject({ status: 409 });
    const damaged: string[] = [];
    const again = await openStore(2 ** 20, (name) => damaged.push(name));
    expect(damaged).toEqual([`${broken.id}.kvsnapshot`]);
    expect(again.list().map(({ id }) => id)).toEqual([whole.id]);
    const { bytes: read, state } = (await again.load(whole.id)).captured;
    expect([[...read], state]).toEqual([[...captured(100).bytes], captured(100).state]);
    expect((await readdir(folder)).some((name) => name.endsWith(".tmp"))).toBe(false);
  });
});
