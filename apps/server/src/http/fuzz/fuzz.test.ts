import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startTestServer, type TestServer } from "../test-server.ts";
import { damage, mutate } from "./mutate.ts";
import { createRandom, type Random } from "./random.ts";
import { rawRequest } from "./raw-requests.ts";
import { instanceOf, type Schema } from "./schema-instance.ts";

const count = process.env.KVCACHE_SLOW_TESTS === "1" ? 10_000 : 1_000;
const seed = Number(process.env.KVCACHE_SEED ?? 1);
/** Nothing may take longer, but what was asked to be long. */
const HANG_MS = 10_000;
const IN_FLIGHT = 8;

interface Operation {
  readonly method: string;
  readonly path: string;
  readonly body: Schema | undefined;
}

let server: TestServer;
let operations: readonly Operation[];
let resolve: (ref: string) => Schema;

beforeAll(async () => {
  server = await startTestServer({ maxBodyBytes: 2 ** 17, maxQueue: 16 });
  const { body: document } = await server.get("/openapi.json");
  resolve = (ref) =>
    ref
      .slice(2)
      .split("/")
      .reduce((at, name) => at[name], document);
  type Described = { requestBody?: { content: { "application/json": { schema: Schema } } } };
  operations = Object.entries<Record<string, Described>>(document.paths)
    .filter(([path]) => path !== "/inspector/events")
    .flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { requestBody }]) => ({
        method: method.toUpperCase(),
        path,
        body: requestBody?.content["application/json"].schema,
      })),
    );
});
afterAll(() => server.close());

/** Whether the answer may take long by right: then the client leaves instead. */
const mayBeLong = (body: unknown): boolean => {
  const { max_tokens, max_completion_tokens, max_output_tokens, n } = Object(body);
  const most = max_completion_tokens ?? max_tokens ?? max_output_tokens;
  return !(typeof most === "number" && most <= 8) || n > 4;
};

/** One request; a complaint where the answer breaks a promise. */
async function ask(random: Random): Promise<string | undefined> {
  const {
    method,
    path,
    body: schema,
  } = random.pick(operations.filter(({ body }) => body || random.chance(0.3)));
  const where = path.replace(/\{[^}]*\}|\*/, () =>
    random.pick(["0", "tiny", "%00", "-1", "a/b", "%ff", "x".repeat(600)]),
  );
  const query = random.chance(0.1)
    ? `?${random.pick(["model=none", "a[]=1", "%", "__proto__=1", "model="])}`
    : "";
  const verb = random.chance(0.05)
    ? random.pick(["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
    : method;
  let value = schema && instanceOf(schema, random, resolve);
  for (let times = random.below(4); schema && times > 0; times--) value = mutate(value, random);
  const text = JSON.stringify(value) ?? "";
  const body = schema && random.chance(0.08) ? damage(text, random) : text;
  const type = random.chance(0.05)
    ? random.pick([
        "text/plain",
        "application/xml",
        "",
        "application/json; charset=utf-16",
        "multipart/form-data",
      ])
    : "application/json";
  const long = mayBeLong(value);
  const signal = AbortSignal.timeout(long ? 150 : HANG_MS);
  const shown = () => `${verb} ${where}${query} ${String(body).slice(0, 400)}`;
  try {
    const response = await fetch(`${server.url}${where}${query}`, {
      method: verb,
      signal,
      headers: { "content-type": type },
      ...(verb === "GET" || !schema ? {} : { body: body as string }),
    });
    const { status, headers } = response;
    const answer = await response.text();
    if (status >= 500 && status !== 503) return `${status} to ${shown()}: ${answer}`;
    if (status >= 400) {
      if (!headers.get("content-type")?.includes("application/json"))
        return `${status} is no JSON: ${shown()}`;
      const { error } = JSON.parse(answer);
      if (typeof error?.message !== "string" || typeof error.type !== "string")
        return `${status} in another shape: ${answer}, to ${shown()}`;
    }
    return undefined;
  } catch (error) {
    if (signal.aborted) return long ? undefined : `hang: ${shown()}`;
    return `${(error as Error).cause ?? error}: ${shown()}`;
  }
}

it("an object that claims a length is a bad field", async () => {
  const length = { toString: 1, length: -1 };
  const { status } = await server.post("/tokenize", { messages: { toString: 1, length } });
  expect(status).toBe(400);
});

it(`${count} mutated requests: no 5xx but 503, no hang, no crash`, {
  timeout: count * 100,
}, async () => {
  const complaints: string[] = [];
  const port = Number(new URL(server.url).port);
  const random = createRandom(seed);
  let left = count;
  const client = async () => {
    while (left-- > 0) {
      const own = createRandom(random.below(2 ** 32));
      if (own.chance(0.1)) {
        const statuses = await rawRequest(port, own, HANG_MS).catch((error: Error) => {
          complaints.push(error.message);
          return [];
        });
        if (statuses.some((status) => status >= 500 && status !== 503))
          complaints.push(`raw: ${statuses}`);
      } else {
        const complaint = await ask(own);
        if (complaint) complaints.push(complaint.slice(0, 800));
      }
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, client));
  expect(complaints.slice(0, 10)).toEqual([]);
  const busy = () => {
    const { running, waiting } = server.run.engine.stats();
    return running + waiting > 0;
  };
  for (let waited = 0; busy() && waited < HANG_MS; waited += 20) await sleep(20);
  expect(busy()).toBe(false);
  expect((await server.get("/health")).status).toBe(200);
  const { body } = await server.post("/v1/completions", { prompt: "a", max_tokens: 1 });
  expect(body.choices).toHaveLength(1);
});
