import {
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { startTestServer, type TestServer } from "../test-server.ts";
import { openSnapshotStore, type SnapshotStoreOptions } from "./snapshot-store.ts";

let folder: string;
let server: TestServer;
const clock = { time: 1_000_000 };
const openStore = (
  maxBytes = 2 ** 28,
  heard: Pick<SnapshotStoreOptions, "onDamaged" | "onLeft"> = {},
) => openSnapshotStore({ folder, maxBytes, maxAge: 3600, now: () => clock.time, ...heard });
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

  it("are not kept for a client that left before it heard of its own", async () => {
    const left = new AbortController();
    const store = await openStore();
    const saves: string[] = [];
    const other = await startTestServer({
      snapshots: {
        ...store,
        async save(...args) {
          left.abort();
          await sleep(50);
          const info = await store.save(...args);
          saves.push(info.id);
          return info;
        },
      },
    });
    const asked = fetch(other.url + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ prompt: "Once upon a time." }),
      signal: left.signal,
    });
    await expect(asked).rejects.toThrow();
    await vi.waitFor(() => expect(saves).toHaveLength(1));
    await vi.waitFor(() => expect(store.list()).toEqual([]));
    await other.close();
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

  it("counts a file at every moment from its first byte on", async () => {
    const store = await openStore(5000);
    let saving = true;
    const save = store.save(captured(1500), about).finally(() => {
      saving = false;
    });
    const seen: number[] = [];
    while (saving) {
      seen.push(store.bytes);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(seen.length).toBeGreaterThan(1);
    expect(Math.min(...seen)).toBeGreaterThan(1500);
    await store.remove((await save).id);
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

  it("survives a file that is too old and cannot be removed, and says so", async () => {
    const left: string[] = [];
    const store = await openStore(2 ** 20, { onLeft: (file) => void left.push(file) });
    const { id } = await store.save(captured(10), about, 60);
    const file = join(folder, `${id}.kvsnapshot`);
    // A folder in the place of the file: it cannot be removed like one.
    await rm(file);
    await mkdir(file);
    clock.time += 61;
    expect(store.list()).toEqual([]);
    await vi.waitFor(() => expect(left).toEqual([`${id}.kvsnapshot`]));
    await rm(file, { recursive: true });
  });

  it("still knows what it was told to forget and could not", async () => {
    const store = await openStore();
    const { id } = await store.save(captured(10), about);
    const file = join(folder, `${id}.kvsnapshot`);
    await rm(file);
    await mkdir(file);
    await expect(store.remove(id)).rejects.toMatchObject({ code: "ERR_FS_EISDIR" });
    expect(store.info(id).id).toBe(id);
    await rm(file, { recursive: true });
  });

  it("reads headers only when it is opened, and checks the rest when it is asked for", async () => {
    const store = await openStore();
    const { id } = await store.save(captured(2 ** 20), about);
    const file = join(folder, `${id}.kvsnapshot`);
    await truncate(file, 2 ** 19);
    const again = await openStore();
    expect(again.info(id)).toMatchObject({ id, tokens: 3, bytes: 2 ** 19 });
    await expect(again.load(id)).rejects.toMatchObject({ status: 409, code: "snapshot_damaged" });
    await again.remove(id);
  });

  it("refuses damaged files, and clears away what a crash left", async () => {
    const store = await openStore();
    const [whole, broken, renamed, empty] = [
      await store.save(captured(100), about),
      await store.save(captured(100), about),
      `snap_${"0".repeat(32)}.kvsnapshot`,
      `snap_${"1".repeat(32)}.kvsnapshot`,
    ];
    await copyFile(join(folder, `${whole.id}.kvsnapshot`), join(folder, renamed));
    await writeFile(join(folder, empty), "");
    const file = join(folder, `${broken.id}.kvsnapshot`);
    const bytes = await readFile(file);
    bytes[0]! ^= 1;
    await writeFile(file, bytes);
    await writeFile(join(folder, `${whole.id}.kvsnapshot.123.tmp`), "half");
    await expect(store.load(broken.id)).rejects.toMatchObject({ status: 409 });
    const damaged: string[] = [];
    const again = await openStore(2 ** 20, { onDamaged: (name) => void damaged.push(name) });
    expect(damaged.sort()).toEqual([renamed, empty, `${broken.id}.kvsnapshot`].sort());
    expect(again.list().map(({ id }) => id)).toEqual([whole.id]);
    const { bytes: read, state } = (await again.load(whole.id)).captured;
    expect([[...read], state]).toEqual([[...captured(100).bytes], captured(100).state]);
    expect((await readdir(folder)).some((name) => name.endsWith(".tmp"))).toBe(false);
  });
});
