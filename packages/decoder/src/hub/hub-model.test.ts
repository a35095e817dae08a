import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { encode, tinyFiles } from "../__fixtures__/tiny-model.ts";
import { loadModel } from "../load-model.ts";
import { parseHubId } from "./hub-id.ts";
import type { HubProgress } from "./hub-model.ts";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";

interface Request {
  readonly url: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

/** A hub with one model, org/tiny; it may tell wrong digests or break off. */
let hub: { files: Map<string, Uint8Array>; requests: Request[]; lie: boolean; breakAt: number[] };
let server: Server;
let home: string;
let env: Record<string, string>;

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const blobId = (bytes: Uint8Array) =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");

const siblings = () =>
  [...hub.files].map(([rfilename, bytes]) =>
    rfilename.endsWith(".safetensors")
      ? { rfilename, size: bytes.length, lfs: { sha256: sha256(hub.lie ? encode("x") : bytes) } }
      : { rfilename, size: bytes.length, blobId: blobId(bytes) },
  );

function answer(request: IncomingMessage): { status: number; body: Uint8Array; range?: string } {
  const url = request.url ?? "";
  if (/^\/api\/models\/org\/tiny\/revision\/(main|v2)\?/.test(url))
    return { status: 200, body: encode({ sha: COMMIT, siblings: siblings() }) };
  const body = hub.files.get(url.replace(`/org/tiny/resolve/${COMMIT}/`, ""));
  if (body === undefined) return { status: 404, body: encode("not here") };
  const start = /^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1];
  if (start === undefined) return { status: 200, body };
  const range = `bytes ${start}-${body.length - 1}/${body.length}`;
  return { status: 206, body: body.subarray(Number(start)), range };
}

beforeEach(async () => {
  hub = { files: tinyFiles(), requests: [], lie: false, breakAt: [] };
  hub.files.set("README.md", encode("not wanted"));
  hub.files.set("../outside/config.json", encode("not wanted either"));
  server = createServer((request, response) => {
    const { url = "", headers } = request;
    hub.requests.push({ url, range: headers.range, authorization: headers.authorization });
    const { status, body, range } = answer(request);
    const breakAt = url.endsWith(".safetensors") ? hub.breakAt.shift() : undefined;
    response.writeHead(status, {
      "content-length": body.length,
      ...(range && { "content-range": range }),
    });
    if (breakAt === undefined) response.end(body);
    else response.write(body.subarray(0, breakAt), () => setTimeout(() => response.destroy(), 20));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  home = mkdtempSync(join(tmpdir(), "hub-model-"));
  env = {
    HF_ENDPOINT: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    KVCACHE_HOME: join(home, "kvcache"),
    HF_HOME: join(home, "huggingface"),
  };
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(home, { recursive: true });
});

const paths = () => hub.requests.map(({ url }) => url.split("/").at(-1)?.split("?")[0]);
const snapshot = () => join(home, "kvcache", "models", "org", "tiny", COMMIT);

describe("a hub model", () => {
  it("is downloaded once, with progress, and only what a decoder reads", async () => {
    const progress: HubProgress[] = [];
    const model = await loadModel("org/tiny", { env, onDownload: (p) => progress.push(p) });
    expect(model.name).toBe("org/tiny");
    expect(paths()).toEqual(["main", "config.json", "model.safetensors"]);
    const total = hub.files.get("config.json")!.length + hub.files.get("model.safetensors")!.length;
    expect(progress.at(-1)).toEqual({
      doneBytes: total,
      totalBytes: total,
      file: "model.safetensors",
    });
    expect(existsSync(join(home, "kvcache", "models", "org", "outside"))).toBe(false);

    hub.requests.length = 0;
    expect((await loadModel("org/tiny", { env })).fingerprint).toBe(model.fingerprint);
    expect(paths()).toEqual(["main"]);
    expect(await loadModel(`org/tiny@${COMMIT}`, { env })).toBeDefined();
    expect(paths()).toEqual(["main"]);
  });

  it("continues where the connection broke", async () => {
    hub.breakAt = [1000, 500];
    await loadModel("org/tiny", { env });
    const ranges = hub.requests.filter(({ url }) => url.endsWith(".safetensors"));
    expect(ranges.map(({ range }) => range)).toEqual([undefined, "bytes=1000-", "bytes=1500-"]);
    const stored = readFileSync(join(snapshot(), "model.safetensors"));
    expect(sha256(stored)).toBe(sha256(hub.files.get("model.safetensors")!));
  });

  it("continues what another process began", async () => {
    mkdirSync(snapshot(), { recursive: true });
    const weights = hub.files.get("model.safetensors")!;
    writeFileSync(join(snapshot(), "model.safetensors.partial"), weights.subarray(0, 700));
    await loadModel("org/tiny", { env });
    expect(hub.requests.at(-1)?.range).toBe("bytes=700-");
  });

  it("is refused when its content is not what the hub announced", async () => {
    hub.lie = true;
    await expect(loadModel("org/tiny", { env })).rejects.toMatchObject({
      code: "invalid-file",
      message: expect.stringContaining("model.safetensors"),
    });
    expect(existsSync(join(snapshot(), "model.safetensors"))).toBe(false);
  });

  it("is asked for with the token, by revision", async () => {
    await loadModel("org/tiny@v2", { env: { ...env, HF_TOKEN: "secret" } });
    expect(hub.requests[0]?.url).toContain("/revision/v2?");
    expect(new Set(hub.requests.map(({ authorization }) => authorization))).toEqual(
      new Set(["Bearer secret"]),
    );
  });

  it("that does not exist is not-found, naming the id", async () => {
    await expect(loadModel("org/other", { env })).rejects.toMatchObject({
      code: "not-found",
      message: expect.stringContaining("org/other"),
    });
  });

  it("without safetensors says so", async () => {
    hub.files.delete("model.safetensors");
    await expect(loadModel("org/tiny", { env })).rejects.toThrow("no model.safetensors");
  });

  it("stops when the signal fires", async () => {
    hub.breakAt = [10];
    const controller = new AbortController();
    const onDownload = ({ file }: HubProgress) => {
      if (file === "model.safetensors") controller.abort();
    };
    await expect(
      loadModel("org/tiny", { env, onDownload, signal: controller.signal }),
    ).rejects.toMatchObject({ code: "aborted" });
  });
});

describe("without a network", () => {
  const offline = () => ({ ...env, HF_ENDPOINT: "http://127.0.0.1:65534" });

  it("says what is missing and how to go on", async () => {
    const expected = {
      code: "not-found",
      message: expect.stringMatching(
        /org\/tiny at main: not in a local cache.*path of a model folder/,
      ),
    };
    await expect(loadModel("org/tiny", { env: offline() })).rejects.toMatchObject(expected);
    await expect(
      loadModel("org/tiny", { env: { ...env, HF_HUB_OFFLINE: "1" } }),
    ).rejects.toMatchObject(expected);
    expect(hub.requests).toEqual([]);
  });

  it("uses what was downloaded earlier", async () => {
    const { fingerprint } = await loadModel("org/tiny", { env });
    expect((await loadModel("org/tiny", { env: offline() })).fingerprint).toBe(fingerprint);
  });

  it("uses a snapshot of the Hugging Face tools, where it is complete", async () => {
    const repository = join(home, "huggingface", "hub", "models--org--tiny");
    const folder = join(repository, "snapshots", COMMIT);
    mkdirSync(folder, { recursive: true });
    mkdirSync(join(repository, "refs"));
    writeFileSync(join(repository, "refs", "main"), COMMIT);
    writeFileSync(join(folder, "config.json"), hub.files.get("config.json")!);
    await expect(loadModel("org/tiny", { env: offline() })).rejects.toThrow("not in a local cache");
    writeFileSync(join(folder, "model.safetensors"), hub.files.get("model.safetensors")!);
    expect((await loadModel("org/tiny", { env: offline() })).config.vocabSize).toBe(10);
  });
});

describe("parseHubId", () => {
  it.each([
    ["org/name", { repository: "org/name", revision: "main" }],
    ["Qwen/Qwen3-0.6B@v1.0", { repository: "Qwen/Qwen3-0.6B", revision: "v1.0" }],
    ["./name", undefined],
    ["../name", undefined],
    ["/name", undefined],
    ["name", undefined],
    ["a/b/c", undefined],
    ["a/b@../../x", undefined],
    ["a/..", undefined],
  ])("%s", (text, expected) => {
    expect(parseHubId(text)).toEqual(expected);
  });
});
